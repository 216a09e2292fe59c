"""A loopback server that speaks what wandb-core asks of W&B: it keeps runs by id, as W&B does, and the
lines of their files by offset."""

import json
import re
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0123456789abcdef" * 2 + "01234567"  # 40 characters, as W&B's are; of no account


class Runs(ThreadingHTTPServer):
    """``runs[id]`` holds what was sent: fields of the run, and the lines of its files."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs, self.operations, self.uploads, self.artifacts = {}, [], [], []
        self.deaf = threading.Event()  # once set, every request fails
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def lines(self, run, file):
        """The lines of one file of a run, in order."""
        return [json.loads(line) for _, line in sorted(self.runs[run]["files"][file].items())]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self._answer({})

    def do_PUT(self):
        self.server.uploads.append((self.path, self._body()))
        self._answer({})

    def do_POST(self):
        body = self._body()
        if self.server.deaf.is_set():
            self._answer({"error": "deaf"}, 503)
        elif stream := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
            self._stream(self.server.runs[stream[1]], json.loads(body))
        elif self.path != "/graphql":  # W&B's own telemetry
            self._answer({})
        else:
            request = json.loads(body)
            operation = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])[1]
            self.server.operations.append(operation)
            handler = getattr(self, "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower(), None)
            self._answer({"data": handler(request.get("variables") or {}) if handler else {}})

    def _stream(self, run, sent):
        for name, file in (sent.get("files") or {}).items():
            for number, line in enumerate(file["content"]):
                run["files"][name][file["offset"] + number] = line
        if "exitcode" in sent:
            run["exit_code"] = sent["exitcode"]
        self._answer({"limits": {}})

    def _artifact_type(self, _):
        return {"project": None}

    def _viewer(self, _):
        return {
            "viewer": {"id": "1", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}
        }

    def _server_features_query(self, _):
        return {"serverInfo": {"features": []}}

    def _run_resume_status(self, asked):
        run = self.server.runs.get(asked["name"])
        if run is None:
            return {"model": {"id": "p", "name": "p", "entity": {"id": "e", "name": "me"}, "bucket": None}}
        history = [line for _, line in sorted(run["files"]["wandb-history.jsonl"].items())]
        summary = run["files"]["wandb-summary.json"]
        bucket = {
            "id": asked["name"],
            "name": asked["name"],
            "summaryMetrics": summary.get(0, "{}"),
            "displayName": run.get("displayName"),
            "logLineCount": 0,
            "historyLineCount": len(history),
            "eventsLineCount": 0,
            "historyTail": json.dumps(history[-1:]),
            "eventsTail": "[]",
            "config": run.get("config") or "{}",
            "tags": run.get("tags") or [],
            "wandbConfig": '{"t": 1}',
        }
        return {"model": {"id": "p", "name": "p", "entity": {"id": "e", "name": "me"}, "bucket": bucket}}

    def _upsert_bucket(self, sent):
        name = sent.get("name") or sent.get("id")
        inserted = name not in self.server.runs
        run = self.server.runs.setdefault(name, {"files": defaultdict(dict)})
        run |= {key: value for key, value in sent.items() if value is not None}
        bucket = {
            "id": name,
            "name": name,
            "displayName": run.get("displayName"),
            "description": None,
            "config": run.get("config"),
            "sweepName": run.get("sweep"),
            "project": {"id": "p", "name": run.get("project") or "p", "entity": {"id": "e", "name": "me"}},
            "historyLineCount": len(run["files"]["wandb-history.jsonl"]),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _create_run_files(self, sent):
        files = [{"name": name, "uploadUrl": f"{self.server.url}/upload/{name}"} for name in sent["files"]]
        return {"createRunFiles": {"runID": sent["run"], "uploadHeaders": [], "files": files}}

    def _create_artifact(self, sent):
        self.server.artifacts.append(sent["input"])
        artifact = {
            "id": str(len(self.server.artifacts)),
            "state": "COMMITTED",
            "artifactSequence": {"id": "s", "latestArtifact": None},
        }
        return {"createArtifact": {"artifact": artifact}}

"""A real HTTP server that speaks what huggingface_hub asks of the hub: it keeps repositories and their
files, and fails when told to.

Uploads are those of its LFS protocol (HF_HUB_DISABLE_XET=1), downloads those of ``resolve``. Also
runs by itself: ``python tests/fake_hub_server.py 8000``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_loopback_token_of_no_account"
LARGE = 10_000  # bytes; from here on a file is kept as a large one, as the hub does by type and size


@dataclass
class Repository:
    """Files by path at the newest commit, how often it was committed to, and who may see it."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return hashlib.sha1("\n".join(self.messages).encode(), usedforsecurity=False).hexdigest()


@dataclass
class Hub:
    """What the server keeps, and how it behaves."""

    user: str = "me"
    role: str = "write"
    faults: list[tuple[str, str, int]] = field(
        default_factory=list
    )  # method, part of the path, status: each goes wrong once
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)  # large files by SHA-256
    requests: list[str] = field(default_factory=list)
    address: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.handle_any("GET")

    def do_HEAD(self) -> None:
        self.handle_any("HEAD")

    def do_POST(self) -> None:
        self.handle_any("POST")

    def do_PUT(self) -> None:
        self.handle_any("PUT")

    def handle_any(self, method: str) -> None:
        path, body = unquote(urlsplit(self.path).path), self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.hub.lock:
            self.hub.requests.append(f"{method} {path}")
            fault = next((each for each in self.hub.faults if each[0] == method and each[1] in path), None)
            if fault is not None:
                self.hub.faults.remove(fault)
                return self.answer({"error": "a fault on purpose"}, fault[2])
            if not path.startswith("/objects/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.answer({"error": "Invalid credentials"}, 401)
            for verb, pattern, handler in ROUTES:
                if verb == method.replace("HEAD", "GET") and (found := re.fullmatch(pattern, path)):
                    return getattr(self, handler)(body, *found.groups())
        return self.answer({"error": f"no route for {method} {path}"}, 404)

    def answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def missing(self) -> None:
        self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def whoami(self, body: bytes) -> None:
        token = {"displayName": "test", "role": self.hub.role}
        self.answer(
            {"type": "user", "name": self.hub.user, "orgs": [], "auth": {"type": "access_token", "accessToken": token}}
        )

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization'] or self.hub.user}/{asked['name']}"
        there = name in self.hub.repositories
        if name.split("/")[0] != self.hub.user:
            return self.answer({"error": "You don't have the rights to create a model under this namespace"}, 403)
        self.hub.repositories.setdefault(
            name, Repository(private=asked.get("visibility") == "private" or bool(asked.get("private")))
        )
        said = {"url": f"{self.hub.address}/{name}", "name": name}
        return self.answer(
            said | ({"error": "You already created this model repo"} if there else {}), 409 if there else 200
        )

    def validate(self, body: bytes) -> None:
        text = json.loads(body)["content"]
        good = text.startswith("---\n")
        self.answer({"errors": [] if good else [{"message": "no metadata"}], "warnings": []}, 200 if good else 400)

    def info(self, body: bytes, name: str, revision: str | None = None) -> None:
        if name not in self.hub.repositories:
            return self.missing()
        kept = self.hub.repositories[name]
        if revision not in (None, "main", kept.sha):
            return self.answer({"error": f"Invalid rev id: {revision}"}, 404, {"X-Error-Code": "RevisionNotFound"})
        files = [{"rfilename": path} for path in sorted(kept.files)]
        return self.answer(
            {"_id": "1", "id": name, "modelId": name, "private": kept.private, "sha": kept.sha, "siblings": files}
        )

    def tree(self, body: bytes, name: str, revision: str) -> None:
        files = self.hub.repositories[name].files
        entries = [
            {"type": "file", "path": path, "size": len(data), "oid": blob_id(data)}
            for path, data in sorted(files.items())
        ]
        self.answer(entries)

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        if name not in self.hub.repositories:
            return self.missing()
        kept = self.hub.repositories[name].files
        modes = [
            {
                "path": each["path"],
                "uploadMode": "lfs" if each["size"] >= LARGE else "regular",
                "shouldIgnore": False,
                "oid": oid(kept[each["path"]]) if each["path"] in kept else None,
            }
            for each in json.loads(body)["files"]
        ]
        return self.answer({"files": modes})

    def batch(self, body: bytes, name: str) -> None:
        objects = []
        for each in json.loads(body)["objects"]:
            href = f"{self.hub.address}/objects/{each['oid']}"
            actions = {} if each["oid"] in self.hub.objects else {"actions": {"upload": {"href": href}}}
            objects.append({"oid": each["oid"], "size": each["size"], **actions})
        self.answer({"transfer": "basic", "objects": objects})

    def put_object(self, body: bytes, sha256: str) -> None:
        assert self.headers.get("Authorization") is None, "the token must not go to the storage"
        assert hashlib.sha256(body).hexdigest() == sha256
        self.hub.objects[sha256] = body
        self.answer({})

    def commit(self, body: bytes, name: str, revision: str) -> None:
        kept = self.hub.repositories[name]
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            match entry["key"]:
                case "header":
                    kept.messages.append(value["summary"])
                case "file":
                    kept.files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    kept.files[value["path"]] = self.hub.objects[value["oid"]]
                case "deletedFile":
                    del kept.files[value["path"]]
        self.answer(
            {"commitUrl": f"{self.hub.address}/{name}/commit/{kept.sha}", "commitOid": kept.sha, "pullRequestUrl": None}
        )

    def resolve(self, body: bytes, name: str, revision: str, path: str) -> None:
        kept = self.hub.repositories[name]
        if path not in kept.files:
            return self.answer(
                {"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": kept.sha}
            )
        data = kept.files[path]
        headers = {"ETag": f'"{oid(data)}"', "X-Repo-Commit": kept.sha, "Content-Type": "application/octet-stream"}
        return self.answer(data, 200, headers)


def oid(data: bytes) -> str:
    """What the hub knows a file by: SHA-256 of a large one, git's id of another."""
    return hashlib.sha256(data).hexdigest() if len(data) >= LARGE else blob_id(data)


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = (
    ("GET", "/api/whoami-v2", "whoami"),
    ("POST", "/api/repos/create", "create"),
    ("POST", "/api/validate-yaml", "validate"),
    ("GET", rf"/api/models/{NAME}/revision/([\w-]+)", "info"),
    ("GET", rf"/api/models/{NAME}/tree/([\w-]+)", "tree"),
    ("GET", rf"/api/models/{NAME}", "info"),
    ("POST", rf"/api/models/{NAME}/preupload/([\w-]+)", "preupload"),
    ("POST", rf"/{NAME}\.git/info/lfs/objects/batch", "batch"),
    ("PUT", r"/objects/(\w+)", "put_object"),
    ("POST", rf"/api/models/{NAME}/commit/([\w-]+)", "commit"),
    ("GET", rf"/{NAME}/resolve/([\w-]+)/(.+)", "resolve"),
)


@contextmanager
def serving(hub: Hub, port: int = 0) -> Iterator[str]:
    """The server in a thread; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    with serving(Hub(), int(sys.argv[1])) as address:
        print(address, flush=True)
        threading.Event().wait()

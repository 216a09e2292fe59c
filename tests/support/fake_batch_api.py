"""The Batch API of the local server: files, batches, their states and their answers, as OpenAI documents them.

A batch is answered when its state is asked for and ``BatchDesk.hold`` does not hold it. ``outcome`` says how each
ends, from its number: ``completed``, ``expired`` (the second half of its requests is unanswered), ``cancelled``
(likewise), ``too many tokens`` or ``bad`` (refused).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, bytes]
REFUSALS = {
    "too many tokens": ("token_limit_exceeded", "Enqueued token limit reached for tagger-1."),
    "bad": ("invalid_request", "The model is not available for batches."),
}


@dataclass
class BatchDesk:
    """Files and batches of one server, and how it treats them.

    Attributes:
        outcome: Final status of each batch, by its number from 0.
        hold: Whether batches stay in progress.
        slow: Seconds between the creation of a batch and the response to that.
        files: Content of each file by its id.
        batches: Batches in the order of their creation.
    """

    outcome: Callable[[int], str] = lambda number: "completed"
    hold: Callable[[int], bool] = lambda number: False
    slow: float = 0.0
    files: dict[str, bytes] = field(default_factory=dict)
    batches: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def requests(self, number: int) -> list[dict[str, Any]]:
        """The lines of the input file of a batch."""
        return [json.loads(line) for line in self.files[self.batches[number]["input_file_id"]].splitlines()]

    def post(self, path: str, posted: bytes) -> Answer:
        """Answer a POST to ``/v1/files`` or ``/v1/batches``."""
        if path.endswith("/files"):
            return self.upload(posted)
        return self.create(json.loads(posted))

    def upload(self, posted: bytes) -> Answer:
        boundary = posted.partition(b"\r\n")[0]
        fields = {}
        for part in posted.split(boundary)[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            fields[re.search(rb'name="(\w+)"', head)[1].decode()] = content.removesuffix(b"\r\n")  # type: ignore[index]
        if fields.get("purpose") != b"batch" or "file" not in fields:
            return _json(400, {"error": {"message": "purpose and file are required"}})
        with self.lock:
            name = f"file-{len(self.files)}"
            self.files[name] = fields["file"]
        return _json(200, {"id": name, "object": "file", "bytes": len(fields["file"]), "purpose": "batch"})

    def create(self, asked: dict[str, Any]) -> Answer:
        if asked["input_file_id"] not in self.files or asked["completion_window"] != "24h":
            return _json(400, {"error": {"message": "no such file or window"}})
        with self.lock:
            batch = {
                "id": f"batch_{len(self.batches)}",
                "object": "batch",
                "endpoint": asked["endpoint"],
                "input_file_id": asked["input_file_id"],
                "status": "validating",
                "output_file_id": None,
                "error_file_id": None,
                "errors": None,
                "request_counts": {"total": 0, "completed": 0, "failed": 0},
            }
            self.batches.append(batch)
        time.sleep(self.slow)
        return _json(200, batch)

    def get(self, path: str, behaviour: Any) -> Answer:
        """Answer a GET of a batch, the list of batches, or the content of a file."""
        parts = urlsplit(path)
        names = parts.path.split("/")
        if names[-1] == "content":
            return (200, self.files[names[-2]]) if names[-2] in self.files else _json(404, {})
        if names[-1] == "batches":
            return self.page(parse_qs(parts.query))
        with self.lock:
            for number, batch in enumerate(self.batches):
                if batch["id"] == names[-1]:
                    if batch["status"] in {"validating", "in_progress"}:
                        self.proceed(number, batch, behaviour)
                    return _json(200, batch)
        return _json(404, {"error": {"message": f"no batch {names[-1]}"}})

    def page(self, query: dict[str, list[str]]) -> Answer:
        """The list of batches, two a page, the newest first."""
        newest = self.batches[::-1]
        after = [batch["id"] for batch in newest].index(query["after"][0]) + 1 if "after" in query else 0
        page = newest[after : after + 2]
        return _json(200, {"object": "list", "data": page, "has_more": after + 2 < len(newest)})

    def proceed(self, number: int, batch: dict[str, Any], behaviour: Any) -> None:
        """Run a batch to its end, unless it is held."""
        from fake_openai_server import answer_in_batch

        outcome = self.outcome(number)
        if outcome in REFUSALS:
            code, message = REFUSALS[outcome]
            batch |= {"status": "failed", "errors": {"object": "list", "data": [{"code": code, "message": message}]}}
            return
        lines = self.requests(number)
        batch |= {"status": "in_progress", "request_counts": {"total": len(lines), "completed": 0, "failed": 0}}
        if self.hold(number):
            return
        answered, failed = [], []
        for row, line in enumerate(lines):
            result: dict[str, Any] = {"id": f"batch_req_{row}", "custom_id": line["custom_id"], "error": None}
            if outcome != "completed" and row >= len(lines) // 2:
                message = "This request could not be executed before the completion window expired."
                result |= {"response": None, "error": {"code": f"batch_{outcome}", "message": message}}
                failed.append(result)
                continue
            status, body = answer_in_batch(behaviour, line["body"])
            result["response"] = {"status_code": status, "request_id": f"req_{row}", "body": body}
            (answered if status == 200 else failed).append(result)
        for name, results in (("output_file_id", answered), ("error_file_id", failed)):
            if results:
                batch[name] = f"{batch['id']}-{name}"
                text = "".join(f"{json.dumps(result)}\n" for result in reversed(results))  # in no order
                self.files[batch[name]] = text.encode()
        batch["status"] = outcome
        batch["request_counts"] |= {"completed": len(answered), "failed": len(failed)}


def _json(status: int, body: dict[str, Any]) -> Answer:
    return status, json.dumps(body).encode()

"""One batch of requests and its files; see `sftdiv.llm.batch_files` for their content."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sftdiv.llm.transport import Response
from sftdiv.storage.files import write_json

log = logging.getLogger(__name__)
REQUESTS, STATE, ANSWERS, RESULTS = ".requests.jsonl", ".batch.json", ".answers.jsonl", ".results.jsonl"


@dataclass(eq=False)
class StoredBatch:
    """One batch.

    Attributes:
        base: Path of its files without their endings.
        ids: Ids of its requests.
        server: Base URL where its file is; None before the upload.
        file_id: Id of the uploaded file; None before the upload.
        batch_id: Id of the batch on the server; None before it is created.
        unfinished: Number of its requests whose tasks have not ended.
    """

    base: Path
    ids: list[str]
    server: str | None = None
    file_id: str | None = None
    batch_id: str | None = None
    unfinished: int = field(init=False)

    def __post_init__(self) -> None:
        self.unfinished = len(self.ids)

    @staticmethod
    def path(base: Path, ending: str) -> Path:
        """Path of one of the files of a batch."""
        return base.with_name(base.name + ending)

    @property
    def requests(self) -> Path:
        """File of its requests."""
        return self.path(self.base, REQUESTS)

    @property
    def answers(self) -> Path:
        """File of its answers."""
        return self.path(self.base, ANSWERS)

    @property
    def state(self) -> Path:
        """File of the server's ids."""
        return self.path(self.base, STATE)

    @property
    def results(self) -> Path:
        """File of answers that the user writes."""
        return self.path(self.base, RESULTS)

    def save(self, *, server: str, file_id: str, batch_id: str | None) -> None:
        """Set and store the server's ids."""
        self.server, self.file_id, self.batch_id = server, file_id, batch_id
        write_json(self.state, {"server": server, "file": file_id, "batch": batch_id})

    def load(self) -> None:
        """Read the server's ids, if any."""
        try:
            state = json.loads(self.state.read_bytes())
            self.server, self.file_id, self.batch_id = state["server"], state["file"], state["batch"]
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError):
            log.warning("%s is damaged; its requests are sent again", self.state)

    def forget(self) -> None:
        """Remove the server's ids, so that the requests are uploaded again."""
        self.server = self.file_id = self.batch_id = None
        self.state.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all its files."""
        for ending in (REQUESTS, STATE, ANSWERS, RESULTS):
            self.path(self.base, ending).unlink(missing_ok=True)


def as_response(line: Mapping[str, Any]) -> Response:
    """A line of answers as if the request had been sent by itself."""
    response, error = line.get("response"), line.get("error")
    if isinstance(response, Mapping) and isinstance(response.get("status_code"), int):
        return Response(response["status_code"], json.dumps(response.get("body")))
    details = error if isinstance(error, Mapping) else {}
    return Response(0, f"{details.get('code', 'unreadable')}: {details.get('message', error)}")

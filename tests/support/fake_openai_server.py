"""A real HTTP server that speaks OpenAI's chat completions, on a free local port, and fails on purpose when asked to.

Its answers depend on the request alone: what ``Behaviour.reply`` makes of it, or else tags, the
words of the text between [begin] and [end]. ``faults`` says what goes wrong with each request, from
its text and how often that was asked about. Also runs by itself: ``python tests/fake_openai_server.py
8000``.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fake_batch_api import BatchDesk

HTTP = ("429", "500", "503", "slow", "hang up", "half a body", "broken JSON")  # no answer comes
BADLY_WRITTEN = ("cut", "prose", "fence", "comma")  # an answer comes, as small models write it
FAULTS = (*HTTP, *BADLY_WRITTEN)
Reply = Callable[
    [dict[str, Any]], str | tuple[str, dict[str, Any]]
]  # the request -> the answer, or that and its logprobs
Faults = Callable[[str, int], str | None]  # text, how often it was asked about before -> a fault


def no_faults(text: str, before: int) -> str | None:
    return None


def often(share: float, ways: Sequence[str] = FAULTS) -> Faults:
    """Each request fails with this probability, in one of the ways; decided by a hash, so that a run is
    like the next."""

    def fault(text: str, before: int) -> str | None:
        draw = int(hashlib.blake2b(f"{before}:{text}".encode(), digest_size=8).hexdigest(), 16)
        return ways[draw % len(ways)] if (draw // len(ways)) % 1000 < 1000 * share else None

    return fault


@dataclass
class Behaviour:
    """How the server behaves, and what it saw."""

    faults: Faults = no_faults
    reply: Reply | None = None  # None: tags
    delay: float = 0.0  # seconds before each answer
    slow: float = 5.0  # seconds of a request that hangs
    knows_schema: bool = True
    knows_logprobs: bool = True
    key: str | None = None
    models: list[str] | None = field(default_factory=lambda: ["tagger-1"])
    seen: Counter[str] = field(default_factory=Counter)
    requests: list[dict[str, Any]] = field(default_factory=list)
    served: Counter[str] = field(default_factory=Counter)  # faults
    batches: BatchDesk | None = None  # the Batch API, if the server has one
    in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def tags_of(text: str) -> list[str]:
    """What the server says of a text: its distinct words."""
    return list(dict.fromkeys(re.findall(r"\w+", text)))


def text_of(asked: dict[str, Any]) -> str:
    """What a request is about: the text between [begin] and [end], or else all that is said in it."""
    said = "\n".join(message["content"] for message in asked["messages"])
    return said.split("[begin]\n")[1].split("\n[end]")[0] if "[begin]\n" in said else said


def tags_answer(asked: dict[str, Any]) -> str:
    """The words of the text as a list of tags."""
    entries = [{"tag": tag, "explanation": f"it says [{tag}], doesn't it?"} for tag in tags_of(text_of(asked))]
    return json.dumps({"tags": entries} if "response_format" in asked else entries)


def badly_written(whole: str, fault: str | None) -> str:
    """The model's answer, whole or as small models write it."""
    match fault:
        case "cut":
            return whole[: len(whole) * 2 // 3]
        case "prose":
            return "I am sorry, I cannot help with that."
        case "fence":
            return f"Here it is:\n```json\n{whole}\n```\nI hope this helps!"
        case "comma":
            return whole.replace("}]", "},\n]")
        case "too long":
            return whole[:-20]
    return whole


def refusal(behaviour: Behaviour, asked: dict[str, Any]) -> tuple[int, str] | None:
    """Status and message for a request that the server does not accept."""
    if behaviour.models is not None and asked["model"] not in behaviour.models:
        return 404, f"The model `{asked['model']}` does not exist."
    if "response_format" in asked and not behaviour.knows_schema:
        return 400, "response_format of type json_schema is not supported"
    if "logprobs" in asked and not behaviour.knows_logprobs:
        return 400, "logprobs are not supported"
    return None


def completion(behaviour: Behaviour, asked: dict[str, Any], fault: str | None) -> dict[str, Any]:
    """The body of an answer."""
    made = (behaviour.reply or tags_answer)(asked)
    content, logprobs = made if isinstance(made, tuple) else (made, None)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": badly_written(content, fault)},
        "logprobs": logprobs,
        "finish_reason": "length" if fault == "too long" else "stop",
    }
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}


def answer_in_batch(behaviour: Behaviour, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer to one request of a batch."""
    if refused := refusal(behaviour, asked):
        return refused[0], {"error": {"message": refused[1]}}
    text = text_of(asked)
    fault = behaviour.faults(text, behaviour.seen[text])
    behaviour.seen[text] += 1
    behaviour.requests.append(asked)
    behaviour.served[str(fault)] += 1
    if fault is not None and fault.isdigit():
        return int(fault), {"error": {"message": f"status {fault}"}}
    return 200, completion(behaviour, asked, fault)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Behaviour

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def send(
        self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None, *, cut: bool = False
    ) -> None:
        self.send_text(status, json.dumps(body).encode(), headers, cut=cut)

    def send_text(self, status: int, text: bytes, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(text)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text[: len(text) // 2] if cut else text)
        self.close_connection = self.close_connection or cut

    def refuse(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self.send(status, {"error": {"message": message}}, headers)

    def allowed(self) -> bool:
        key = self.behaviour.key
        if key is not None and self.headers.get("Authorization") != f"Bearer {key}":
            self.refuse(401, f"Incorrect API key provided: {self.headers.get('Authorization')}")
            return False
        return True

    def do_GET(self) -> None:
        if self.allowed():
            if self.behaviour.batches is not None and "/models" not in self.path:
                self.send_text(*self.behaviour.batches.get(self.path, self.behaviour))
            elif self.behaviour.models is None or "/models" not in self.path:
                self.refuse(404, "no list")
            else:
                self.send(200, {"object": "list", "data": [{"id": model} for model in self.behaviour.models]})

    def do_POST(self) -> None:
        size = self.headers["Content-Length"]  # a file is sent in chunks
        posted = self.rfile.read(int(size)) if size else b"".join(iter(self.read_chunk, b""))
        if not self.allowed():
            return
        if "/chat/" in self.path:
            self.answer(json.loads(posted))
        elif self.behaviour.batches is None:
            self.refuse(404, "Not Found")
        else:
            self.send_text(*self.behaviour.batches.post(self.path, posted))

    def read_chunk(self) -> bytes:
        """One chunk of a body of unknown length; empty at its end."""
        size = int(self.rfile.readline(), 16)
        chunk = self.rfile.read(size)
        self.rfile.readline()
        return chunk

    def answer(self, asked: dict[str, Any]) -> None:
        behaviour = self.behaviour
        if refused := refusal(behaviour, asked):
            return self.refuse(*refused)
        text = text_of(asked)
        with behaviour.lock:
            fault = behaviour.faults(text, behaviour.seen[text])
            behaviour.seen[text] += 1
            behaviour.requests.append(asked)
            behaviour.served[str(fault)] += 1
            behaviour.in_flight += 1
            behaviour.most_in_flight = max(behaviour.most_in_flight, behaviour.in_flight)
        time.sleep(behaviour.slow if fault == "slow" else behaviour.delay)
        with behaviour.lock:
            behaviour.in_flight -= 1
        match fault:
            case "429":
                return self.refuse(429, "Too many requests.", {"Retry-After": "0"})
            case "400":
                return self.refuse(400, "The response was filtered.")
            case "500" | "503":
                return self.refuse(int(fault), "overloaded")
            case "hang up":
                self.close_connection = True
                return None
        body = completion(behaviour, asked, fault)
        if fault == "broken JSON":
            return self.send_text(200, json.dumps(body)[:-9].encode())
        return self.send(200, body, cut=fault == "half a body")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error."""


@contextmanager
def serving(behaviour: Behaviour, port: int = 0) -> Iterator[str]:
    """The server in a thread; gives its base URL."""
    server = Server(("127.0.0.1", port), type("Bound", (Handler,), {"behaviour": behaviour}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    with serving(Behaviour(), int(sys.argv[1])) as address:
        print(address, flush=True)
        threading.Event().wait()

"""A server that answers every chat request after a fixed time, as cheaply as Python can: what is measured against it is the client.

In: a port, milliseconds, characters of an answer. Out: HTTP on 127.0.0.1 until it is killed. The
trade: it reads no more of a request than its length, so it takes 50 microseconds of a core for each
and can stand beside the client on two cores.
"""

from __future__ import annotations

import asyncio
import json
import sys

MODELS = json.dumps({"object": "list", "data": [{"id": "bench"}]}).encode()


def response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Chat(asyncio.Protocol):
    """One connection; requests come one after the other on it."""

    seconds = 0.0
    answer = b""

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to answer on."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once a request is whole."""
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        if head.startswith(b"GET"):
            self.reply(response(MODELS))
        elif self.seconds:
            asyncio.get_running_loop().call_later(self.seconds, self.reply, self.answer)
        else:
            self.reply(self.answer)

    def reply(self, data: bytes) -> None:
        """Answer, unless the client is gone."""
        if not self.transport.is_closing():
            self.transport.write(data)  # type: ignore[attr-defined]


async def serve(port: int, milliseconds: float, characters: int) -> None:
    text = ("The answer is in words of some length. " * (characters // 39 + 1))[:characters]
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": characters // 5}
    body = {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 0,
        "model": "bench",
        "choices": [choice],
        "usage": usage,
    }
    Chat.seconds, Chat.answer = milliseconds / 1000, response(json.dumps(body).encode())
    server = await asyncio.get_running_loop().create_server(Chat, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))

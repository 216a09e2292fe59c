"""Answers every chat request after a fixed time, as cheaply as Python can, so that the client is what is measured.

Takes a port, milliseconds and characters per answer, and serves HTTP on 127.0.0.1 until it is killed. Of a
request it reads only the length, so a request costs 50 microseconds of a core, and the server can run
beside the client on two cores.
"""

from __future__ import annotations

import asyncio
import json
import sys

MODELS = json.dumps({"object": "list", "data": [{"id": "bench"}]}).encode()


def response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Chat(asyncio.Protocol):
    """One connection with consecutive requests."""

    seconds = 0.0
    answer = b""

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once a request is complete."""
        self.buffer += data
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
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
        """Answer, unless the client has disconnected."""
        if not self.transport.is_closing():
            self.transport.write(data)


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

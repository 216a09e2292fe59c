"""Measures one client against the server: ``client.py ours|aiohttp|openai PORT REQUESTS CONCURRENCY``.

Prints one JSON object with the wall-clock and processor seconds of this process after a warm-up of two
rounds. All clients send the same requests and read the text of the answer; only ours also writes each
answer to a journal, counts tokens and can retry.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

PROMPT = "Explain to a student, in a few sentences, why the following holds, and say where it does not. " * 5


def request(number: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"{number}: {PROMPT}"}]
    return {"model": "bench", "messages": messages, "temperature": 0.7, "max_tokens": 512, "seed": number}


def timed(run: Callable[[int], None], requests: int, concurrency: int) -> dict[str, float]:
    run(2 * concurrency)
    wall, cpu = time.perf_counter(), time.process_time()
    run(requests)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def ours(address: str, concurrency: int) -> Callable[[int], None]:
    from sftdiv.llm.batch_requests import ChatSession, RequestTask, run_requests
    from sftdiv.llm.endpoint import Endpoint
    from sftdiv.llm.journal import Journal

    limits: dict[str, Any] = {
        "timeout": 60,
        "tries": 8,
        "wait": 1.0,
        "longest_wait": 60,
        "requests_per_minute": None,
        "batch": None,
        "batch_requests": 20_000,
        "api_key_env": None,
    }
    endpoint = Endpoint(base_url=address, concurrency=concurrency, **limits)

    def question(number: int) -> RequestTask:
        async def ask(asker: ChatSession) -> dict[str, Any]:
            return await asker.read_text(
                lambda attempt: request(number), lambda text, ended: {"state": "good", "text": text}, tries=2
            )

        return RequestTask(str(number), ask)

    def run(requests: int) -> None:
        with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "ledger.jsonl") as ledger:
            questions = (question(number) for number in range(requests))
            run_requests(endpoint, questions, ledger, total=requests, max_failed=0, label="bench", model="bench")
            assert len(ledger) == requests

    return run


def many(requests: int, concurrency: int, ask: Callable[[int], Awaitable[str]]) -> Awaitable[Any]:
    queue = iter(range(requests))

    async def work() -> None:
        for number in queue:
            assert await ask(number)

    return asyncio.gather(*(work() for _ in range(concurrency)))


def bare_aiohttp(address: str, concurrency: int) -> Callable[[int], None]:
    import aiohttp

    async def all_of(requests: int) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:

            async def ask(number: int) -> str:
                async with session.post(f"{address}/chat/completions", json=request(number)) as response:
                    return str((await response.json())["choices"][0]["message"]["content"])

            await many(requests, concurrency, ask)

    return lambda requests: asyncio.run(all_of(requests))


def openai_client(address: str, concurrency: int) -> Callable[[int], None]:
    from openai import AsyncOpenAI  # type: ignore[import-not-found]

    logging.getLogger("httpx").setLevel(logging.WARNING)

    async def all_of(requests: int) -> None:
        async with AsyncOpenAI(base_url=address, api_key="none") as client:

            async def ask(number: int) -> str:
                return str((await client.chat.completions.create(**request(number))).choices[0].message.content)

            await many(requests, concurrency, ask)

    return lambda requests: asyncio.run(all_of(requests))


CLIENTS = {"ours": ours, "aiohttp": bare_aiohttp, "openai": openai_client}

if __name__ == "__main__":
    name, port, requests, concurrency = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    run = CLIENTS[name](f"http://127.0.0.1:{port}/v1", concurrency)
    print(json.dumps({"client": name, "requests": requests, "pid": os.getpid(), **timed(run, requests, concurrency)}))

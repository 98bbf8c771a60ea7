"""What the server costs beside calls in the process, and how it bears load: `make bench-server`.

Both run the bundled model on the same cores, by turns; each has a user with one preference, so that every answer is
aligned. Ratios are medians over the rounds; the machine should be idle.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import openai

from la_agents import ChatLinearAlignment, PreferenceStore

SERVER = [sys.executable, "-c", "from la_agents_server.cli import main; main()"]
PREFERENCE = "Talk like a pirate: say arr, ye and matey."


class Timing(NamedTuple):
    """Of one stream, in seconds from its request."""

    first_token: float
    end: float
    num_tokens: int


Stream = Callable[[str], AsyncIterator[int]]
"""Asks a question; gives 0 for each piece of the answer, and at last how many tokens it had."""


async def timed(stream: Stream, number: int) -> Timing:
    """Read one stream to its end."""
    since, first, num_tokens = time.perf_counter(), 0.0, 0
    async for count in stream(f"Tell me about the number {number}."):
        first, num_tokens = first or time.perf_counter() - since, count
    return Timing(first, time.perf_counter() - since, num_tokens)


def over_http(url: str, key: str, max_tokens: int) -> Stream:
    """Ask the server as its clients do."""
    http = httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=256))
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http)

    async def stream(question: str) -> AsyncIterator[int]:
        asked: Any = {"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": question}]}
        asked |= {"max_tokens": max_tokens, "stream": True, "stream_options": {"include_usage": True}}
        async for chunk in await client.chat.completions.create(**asked):
            yield chunk.usage.completion_tokens if chunk.usage else 0

    return stream


def bytes_only(url: str, key: str, max_tokens: int) -> Stream:
    """Ask the server, and read what comes without understanding it: what its clients compute is not in the time."""
    http = httpx.AsyncClient(timeout=600, headers={"Authorization": f"Bearer {key}"})

    async def stream(question: str) -> AsyncIterator[int]:
        asked: Any = {"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": question}]}
        asked |= {"max_tokens": max_tokens, "stream": True}
        async with http.stream("POST", f"{url}/v1/chat/completions", json=asked) as answer:
            async for _ in answer.aiter_raw():
                yield 0

    return stream


def in_process(store: PreferenceStore, max_tokens: int) -> Stream:
    """Ask the library."""
    llm = ChatLinearAlignment(preferences=store, user_id="alice", max_tokens=max_tokens)
    llm.load()

    async def stream(question: str) -> AsyncIterator[int]:
        async for chunk in llm.astream(question):
            yield chunk.usage_metadata["output_tokens"] if chunk.usage_metadata else 0

    return stream


@contextlib.contextmanager
def server(folder: Path) -> Iterator[tuple[str, str, int]]:
    """The command, once it is ready: its address, alice's key and its process id."""
    data, log = ["--data", str(folder / "data")], (folder / "log").open("wb")
    add = [*SERVER, "keys", "add", "--user", "alice", "--requests-per-minute", "999999", "--max-concurrent", "999"]
    made = subprocess.run([*add, *data], stdout=subprocess.PIPE, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [*SERVER, "serve", "--store", str(folder / "prefs"), "--port", str(port), *data, "--log-level", "warning"]
    running = subprocess.Popen(command, stderr=log)
    try:
        while not answers(f"{url}/ready"):
            if running.poll() is not None:
                sys.exit((folder / "log").read_text())
            time.sleep(0.2)
        yield url, made.stdout.decode().strip(), running.pid
    finally:
        running.terminate()
        running.wait()
        log.close()


def answers(url: str) -> bool:
    """Whether something answers there."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


async def compared(
    rounds: int, http: Stream, direct: Stream, measure: Callable[[Stream], Awaitable[float]]
) -> tuple[float, float]:
    """The medians of what is measured of the server and of calls in the process, by turns after one that warms up."""
    taken = [(await measure(http), await measure(direct)) for _ in range(rounds + 1)][1:]
    return statistics.median(one for one, _ in taken), statistics.median(other for _, other in taken)


async def cost(rounds: int, http: Stream, raw: Stream, direct: Stream) -> None:
    """One stream, read by OpenAI's client and as bytes, and sixteen at a time."""

    async def end(stream: Stream) -> float:
        return (await timed(stream, 7)).end

    async def first(stream: Stream) -> float:
        return (await timed(stream, 7)).first_token

    async def rate(stream: Stream) -> float:
        since = time.perf_counter()
        taken = await asyncio.gather(*(timed(stream, number) for number in range(16)))
        return sum(each.num_tokens for each in taken) / (time.perf_counter() - since)

    of_server, of_calls = await compared(rounds, http, direct, end)
    print(f"one stream: {of_server:.2f} s, {of_calls:.2f} s in the process: {of_server / of_calls:.2f} x")
    of_server, of_calls = await compared(rounds, raw, direct, end)
    print(
        f"one stream, its bytes only: {of_server:.2f} s, {of_calls:.2f} s in the process: {of_server / of_calls:.2f} x"
    )
    of_server, of_calls = await compared(rounds, http, direct, first)
    print(f"its first token: {1e3 * (of_server - of_calls):+.1f} ms")
    of_server, of_calls = await compared(rounds, http, direct, rate)
    print(f"16 streams: {of_server:.0f} tokens/s, {of_calls:.0f} in the process: {of_server / of_calls:.2f} x")


async def load(stream: Stream, url: str, num_streams: int) -> None:
    """Many streams at once, and how soon `/health` answers meanwhile."""
    stop, waits = threading.Event(), list[float]()

    def ask() -> None:
        with httpx.Client(base_url=url) as client:
            while not stop.wait(0.01):
                since = time.perf_counter()
                client.get("/health")
                waits.append(time.perf_counter() - since)

    asking = threading.Thread(target=ask)
    asking.start()
    taken = await asyncio.gather(*(timed(stream, number) for number in range(num_streams)), return_exceptions=True)
    stop.set()
    asking.join()
    ends = sorted(each.end for each in taken if isinstance(each, Timing))
    fairness, p99 = ends[-1] / ends[0], sorted(waits)[int(len(waits) * 0.99)]
    print(f"{num_streams} streams: {len(taken) - len(ends)} errors, slowest/fastest {fairness:.2f}, ", end="")
    print(f"/health p99 {1e3 * p99:.0f} ms of {len(waits)}")


async def growth(http: Stream, pid: int, num_requests: int) -> None:
    """Memory of the server after a tenth of the requests, and after all of them."""

    async def some(number: int) -> None:
        for first in range(0, number, 8):
            await asyncio.gather(*(timed(http, first + each) for each in range(8)))

    await some(num_requests // 10)
    before = resident(pid)
    await some(num_requests - num_requests // 10)
    print(f"memory over {num_requests} requests: {before / 2**20:.0f} MiB, {resident(pid) / before - 1:+.1%}")


def resident(pid: int) -> int:
    """Bytes that a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measured(arguments: argparse.Namespace, folder: Path) -> None:
    """All of it."""
    for name in ("prefs", "own"):
        with PreferenceStore(path=folder / name) as store:
            store.add("alice", PREFERENCE, scope="always")
    with server(folder) as (url, key, pid), PreferenceStore(path=folder / "own") as store:
        http = over_http(url, key, arguments.max_tokens)
        raw = bytes_only(url, key, arguments.max_tokens)
        await cost(arguments.rounds, http, raw, in_process(store, arguments.max_tokens))
        await load(http, url, arguments.streams)
        if arguments.requests:
            await growth(over_http(url, key, 4), pid, arguments.requests)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--requests", type=int, default=10_000, help="for the growth of memory; 0 leaves it out")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measured(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    main()

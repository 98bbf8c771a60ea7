"""VllmEngine: a vLLM server with the plugin `la-agents-vllm`, behind the protocol of `la_agents.requests.Engine`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from la_agents.engine.constraint import Constraint, GrammarCompiler
from la_agents.errors import (
    ConfigurationError,
    DeadlineExceededError,
    EngineBusyError,
    EngineClosedError,
    GenerationError,
    LaAgentsError,
    RequestTooLargeError,
)
from la_agents.forks import renew_in_child
from la_agents.models.loading import checked_ends
from la_agents.requests import Generation, Request
from la_agents.requests.checks import check_integer
from la_agents.vllm.answer import Answer
from la_agents.vllm.server import Server, address_of, checked_name, refusal, unreachable
from la_agents.vllm.wire import body_of, branches_of, num_facts, records_of

if TYPE_CHECKING:
    import httpx
    from transformers import PreTrainedTokenizerBase

__all__ = ["VllmEngine"]

logger = logging.getLogger(__name__)

_TRIES = 3
_PAUSE = 0.25
"""Seconds before the second try; twice as long before each further one."""
_CONNECT = 10.0
"""Seconds until a server that does not answer counts as down."""


class VllmEngine:
    """Requests go to a server, where they share its batch with everybody else's.

    Nothing is asked of the server before the first use. A request that fails before its first token, because the
    server is busy or goes away, is sent again twice; after it, never. A cancelled request closes its connection, and
    the server frees what it held. Answers keep their places in the server's prefix cache apart by their salt, all of
    the prompt: `Request.num_public_tokens` are not shared between users.

    Args:
        base_url: The server's or its router's address, such as "http://gpu:8000".
        model: The name it serves the model by (`--served-model-name`); it ends in "-aligned".
        api_key: What it was started with (`--api-key`), if it was.
        tokenizer: Where the model's tokenizer is, as for `load_model`; by default what the server was started with.
        end_token_ids: The ids that end an answer; None joins those that the model's files and its template name.
        max_under_way: Requests at once, above which `EngineBusyError` is raised.

    Raises:
        ConfigurationError: one of these is of another kind.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        *,
        tokenizer: str | None = None,
        end_token_ids: Collection[int] | None = None,
        max_under_way: int = 1024,
    ) -> None:
        _require_httpx()
        check_integer("max_under_way", max_under_way, low=1)
        self._url = address_of(base_url)
        self._model = checked_name(model)
        self._api_key = None if api_key is None else _checked_key(api_key)
        self._tokenizer = tokenizer
        self._ends = None if end_token_ids is None else checked_ends(end_token_ids)
        self._max_under_way = max_under_way
        self._closed = False
        self._server: Server | None = None
        self._compiler: GrammarCompiler | None = None
        self._lock = threading.Lock()
        self._line: _Line | None = None
        _engines.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Where it is sent to, there is a new one, of the same server."""
        options = {"tokenizer": self._tokenizer, "end_token_ids": self._ends, "max_under_way": self._max_under_way}
        return functools.partial(VllmEngine, **options), (self._url, self._model, self._api_key)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """The model's, as it is served."""
        return self._model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's."""
        return self.server.tokenizer

    @property
    def context(self) -> int:
        """Tokens at most, prompt and answer together."""
        return self.server.context

    @property
    def server(self) -> Server:
        """What the server says it is; asked at the first use.

        Raises:
            ConfigurationError: it is no server of this model with the plugin.
            ModelNotFoundError: the model's tokenizer is not to be found here.
            GenerationError: it does not answer.
        """
        with self._lock:
            if self._server is None:
                import httpx

                with httpx.Client(base_url=self._url, headers=self._headers, timeout=60.0) as client:
                    self._server = Server.ask(client, self._model, self._tokenizer, self._ends)
            return self._server

    @property
    def _headers(self) -> dict[str, str]:
        return {} if self._api_key is None else {"Authorization": f"Bearer {self._api_key}"}

    def submit(self, request: Request) -> Generation:
        """Send a request; returns without waiting for its answer.

        Raises:
            ConfigurationError: a token id is not one of the model's, there are too many branches, the grammar is
                invalid or too long for `max_tokens`, or the server is not one that can be used.
            RequestTooLargeError: a prompt fills the context.
            EngineBusyError: too many requests are under way.
            EngineClosedError: this engine was closed.
        """
        self._check_open()
        server = self.server
        room = _room(request, server)
        max_tokens = min(request.sampling.max_tokens, room)
        constraint = self._constraint(request, server, max_tokens)
        body = body_of(request, self._model, max_tokens, server.eos_token_ids)
        generation = Generation(lambda: None)
        answer = Answer(request, generation, server, constraint, max_tokens)
        with self._lock:
            self._check_open()
            if self._line is None:
                self._line = _Line(self._url, self._headers, self._max_under_way)
                weakref.finalize(self, self._line.close)
            self._line.begin(answer, body)
        return generation

    def _check_open(self) -> None:
        if self._closed:
            msg = "Expected a running engine, got one that was closed; create a new one."
            raise EngineClosedError(msg)

    def _constraint(self, request: Request, server: Server, max_tokens: int) -> Constraint | None:
        if request.grammar is None:
            return None
        if not server.has_grammars:
            msg = (
                "Expected a vLLM server that follows these grammars, got one that does not; start it with "
                "--structured-outputs-config.backend guidance."
            )
            raise ConfigurationError(msg)
        with self._lock:
            self._compiler = self._compiler or GrammarCompiler(server, server.vocab_size)
        return self._compiler.compile(request.grammar, max_tokens)

    def close(self) -> None:
        """Refuse new requests, and end those under way with `EngineClosedError`."""
        with self._lock:
            self._closed, line, self._line = True, self._line, None
        if line is not None:
            line.close()

    def __enter__(self) -> VllmEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it takes no more requests."""
        return self._closed

    def _renew(self) -> None:
        """A fork has no threads of its own: it makes a line of its own."""
        self._lock, self._line = threading.Lock(), None


_engines: weakref.WeakSet[VllmEngine] = weakref.WeakSet()


def _renew_all() -> None:
    for engine in list(_engines):
        engine._renew()


renew_in_child(_renew_all)


class _Line:
    """A thread with an event loop, in which all requests of an engine are under way."""

    def __init__(self, url: str, headers: dict[str, str], most: int) -> None:
        self._url, self._headers, self._most = url, headers, most
        self._places = threading.Semaphore(most)
        self._loop = asyncio.new_event_loop()
        self._tasks: dict[asyncio.Task[str], Answer] = {}
        self._pid = os.getpid()
        self._is_closed = False
        self._client: httpx.AsyncClient | None = None
        self._thread = threading.Thread(target=self._run_loop, name="la_agents-vllm", daemon=True)
        self._thread.start()

    def _run_loop(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def begin(self, answer: Answer, body: dict[str, Any]) -> None:
        """Send a request."""
        if not self._places.acquire(blocking=False):
            msg = (
                f"Expected at most {self._most} requests at once, got another; ask again later, or raise max_under_way."
            )
            raise EngineBusyError(msg)
        tasks: list[asyncio.Task[str]] = []

        def start() -> None:
            task = self._loop.create_task(self._run(answer, body))
            self._tasks[task] = answer
            task.add_done_callback(self._end)
            tasks.append(task)

        answer.generation.cancel = lambda: self._call(lambda: tasks[0].cancel())
        self._call(start)

    def _call(self, function: Any) -> None:
        if self._pid == os.getpid():
            with contextlib.suppress(RuntimeError):  # the loop is closed: all that was under way has ended
                self._loop.call_soon_threadsafe(function)

    async def _run(self, answer: Answer, body: dict[str, Any]) -> str:
        timeout = answer.request.timeout
        try:
            return await asyncio.wait_for(self._ask(answer, body), timeout)
        except asyncio.TimeoutError:  # another one in Python 3.10
            msg = (
                f"Expected an answer within {timeout:g} s, got {len(answer.records)} tokens by then; raise timeout, "
                "lower max_tokens, or send fewer requests at once."
            )
            raise DeadlineExceededError(msg) from None

    async def _ask(self, answer: Answer, body: dict[str, Any]) -> str:
        import httpx

        pause = _PAUSE
        for tries_left in range(_TRIES - 1, -1, -1):
            try:
                async with aclosing(self._stream(body)) as stream:
                    async for choice in stream:
                        answer.note(_about(choice))
                        for record in records_of(choice, answer.request):
                            if (reason := answer.extend(record)) is not None:
                                return reason
                        if (reason := choice.get("finish_reason")) is not None:
                            return _ending(reason)
                msg = "the stream ended before the answer"
                raise httpx.RemoteProtocolError(msg)
            except (httpx.TransportError, EngineBusyError) as error:
                if answer.records or not tries_left:
                    raise (error if isinstance(error, LaAgentsError) else unreachable(self._url, error)) from None
                logger.debug("a request is sent again: %s", type(error).__name__)
            await asyncio.sleep(pause)
            pause *= 2
        raise AssertionError

    async def _stream(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        import httpx

        if self._client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
            timeout = httpx.Timeout(None, connect=_CONNECT)
            self._client = httpx.AsyncClient(base_url=self._url, headers=self._headers, limits=limits, timeout=timeout)
        async with self._client.stream("POST", "completions", json=body) as response:
            if not response.is_success:
                raise refusal(response.status_code, (await response.aread()).decode(errors="replace"))
            async for line in response.aiter_lines():
                data = line.removeprefix("data:").strip()
                if data == line or not data.startswith("{"):
                    continue
                event = json.loads(data)
                if "error" in event:
                    raise refusal(int(event["error"].get("code") or 500), data)
                for choice in event.get("choices", ()):
                    yield choice

    def _end(self, task: asyncio.Task[str]) -> None:
        answer = self._tasks.pop(task)
        self._places.release()
        if task.cancelled() and self._is_closed:
            answer.generation.post(EngineClosedError("Expected an answer, and the engine was closed; ask another."))
        elif task.cancelled():
            answer.generation.post(answer.completion("cancelled"))
        elif (error := task.exception()) is None:
            answer.generation.post(answer.completion(task.result()))
        elif isinstance(error, LaAgentsError):
            answer.generation.post(error.with_traceback(None))
        else:
            msg = f"Expected an answer in vLLM's form, got {type(error).__name__}; are both of the same release?"
            answer.generation.post(GenerationError(msg))

    def close(self) -> None:
        """End what is under way."""

        async def end() -> None:
            self._is_closed = True
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)  # their ends are told
            if self._client is not None:
                await self._client.aclose()
            self._loop.stop()

        if self._pid != os.getpid() or not self._thread.is_alive():
            return
        self._call(lambda: self._loop.create_task(end()))
        if self._thread is not threading.current_thread():
            self._thread.join(10.0)


def _about(choice: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(choice.get("stop_reason") or "{}")
    except (TypeError, json.JSONDecodeError):
        return {}
    return dict(found.get("la_agents") or {}) if isinstance(found, dict) else {}


def _ending(reason: str) -> str:
    """Why the server says that an answer ended; an abort is no end that a caller could take for the answer's own."""
    if reason not in ("stop", "length"):
        msg = f"Expected an answer to its end, got one that the vLLM server ended ({reason!r:.20}); ask again."
        raise GenerationError(msg)
    return reason


def _checked_key(key: str) -> str:
    """It goes into a header as it is, where a line's end or an accent would fail each request."""
    if not isinstance(key, str) or not key.isascii() or not key.isprintable():
        msg = "Expected api_key to be a text of printable ASCII, got another; strip its line's end, if it has one."
        raise ConfigurationError(msg)
    return key


def _room(request: Request, server: Server) -> int:
    """Tokens that an answer may have at most; refuses what the server would not take."""
    longest = max(map(len, request.prompts))
    if longest >= server.context:
        msg = f"Expected prompts below the context of {server.context} tokens, got {longest}; shorten them."
        raise RequestTooLargeError(msg)
    for prompt in request.prompts:
        if len(prompt) < 2:
            msg = "Expected prompts of at least two tokens, got one; vLLM decodes nothing after a single one."
            raise ConfigurationError(msg)
        if others := {type(token).__name__ for token in prompt} - {"int"}:
            msg = f"Expected token ids to be integers, got {', '.join(sorted(others))}; convert them."
            raise ConfigurationError(msg)
        for token in (min(prompt), max(prompt)):
            if not 0 <= token < server.vocab_size:
                msg = (
                    f"Expected token ids from 0 to {server.vocab_size - 1}, got {token}; "
                    "encode the prompt with the model's own tokenizer."
                )
                raise ConfigurationError(msg)
    if len(branches_of(request)) > server.max_branches:
        msg = f"Expected at most {server.max_branches} branches, got {len(request.branches)}; use compose='joint'."
        raise ConfigurationError(msg)
    if num_facts(request) > server.num_facts:
        msg = (
            f"Expected records of at most {server.num_facts} numbers, this request asks for {num_facts(request)}; "
            "start vLLM with a larger --max-logprobs."
        )
        raise ConfigurationError(msg)
    return server.context - longest


def _require_httpx() -> None:
    try:
        import httpx  # noqa: F401
    except ImportError as error:
        msg = 'Expected httpx to be installed, got none; run `pip install "la-agents[vllm]"`.'
        raise ConfigurationError(msg) from error

"""In the place of a vLLM server: its wire, as far as the client uses it, around the plugin's own arithmetic.

Each request computes all its rows anew for every token, by a tiny model, in a thread of its own; nothing is batched.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from la_agents.models import LoadedModel
from la_agents_vllm.arguments import Arguments, Row
from la_agents_vllm.buckets import Buckets
from la_agents_vllm.choosing import choose, describe
from la_agents_vllm.draws import key_of, uniforms

__all__ = ["NAME", "StandIn"]

NAME = "tiny-aligned"
NUM_FACTS = 63
CPU = torch.device("cpu")


class StandIn:
    """A server on a port of its own.

    Attributes:
        answers: What comes next in the place of an answer, one a request: a status, "cut" (a connection that ends),
            "empty" (a stream of nothing), "cut late" (one that ends after a token), or "abort" (an answer that the
            server ends after a token).
        num_under_way: Requests being answered.
        bodies: What was posted.
        about: What the plugin says of itself; None as a server without it.
        instead: By path, what is answered in the place of what a vLLM server says.
    """

    def __init__(
        self, loaded: LoadedModel, folder: Path, *, context: int = 512, api_key: str | None = None, port: int = 0
    ) -> None:
        self.loaded, self.folder, self.context, self.api_key = loaded, folder, context, api_key
        self.answers: list[int | str] = []
        self.bodies: list[dict[str, Any]] = []
        self.instead: dict[str, Any] = {}
        self.num_under_way = 0
        self.pause = 0.0
        vocab_size = int(loaded.model.config.vocab_size)
        self.about: dict[str, Any] | None = {
            "protocol": 1,
            "version": "0",
            "vocab_size": vocab_size,
            "max_branches": 4,
            "records": True,
            "num_facts": NUM_FACTS,
            "grammars": True,
        }
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"stand_in": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> StandIn:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def tokens(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The choices of a stream, one a token."""
        given = Arguments.of(body["vllm_xargs"])
        assert given is not None
        row = Row.first("only", given, body.get("seed", time.time_ns()), body["temperature"], 1.0)
        buckets = Buckets(1, CPU)
        gangs = describe([(range(row.size), row)], buckets, CPU)
        prompts = [body["prompt"], *map(list, given.branches)]
        ends, answer = set(body["stop_token_ids"]), []
        matcher = self._matcher(body)
        for place in range(body["max_tokens"]):
            with torch.no_grad():
                ids = [torch.tensor([prompt + answer]) for prompt in prompts]
                logits = torch.stack([self.loaded.model(input_ids=i).logits[0, -1] for i in ids])
            if matcher is not None:
                logits.masked_fill_(~self._allowed(matcher, logits.shape[1]), float("-inf"))
                if given.trigger and given.trigger in str(self.loaded.tokenizer.decode(answer[-64:])):
                    logits[1:] = float("-inf")
            drawn = uniforms(np.array([key_of(row.seed)], np.uint64), np.array([place]))
            token = int(choose(logits, gangs, torch.from_numpy(drawn), torch.tensor([place]), buckets))
            values, top = logits[0].topk(min(body["logprobs"], logits.shape[1]))
            entries = {f"token_id:{i}": max(v, -9999.0) for i, v in zip(top.tolist(), values.tolist(), strict=True)}
            answer.append(token)
            if matcher is not None and token not in ends:
                assert matcher.consume_token(token)
            reason = "stop" if token in ends else "length" if len(answer) == body["max_tokens"] else None
            choice = {"token_ids": [token], "logprobs": {"top_logprobs": [entries]}, "finish_reason": reason}
            if reason is not None:
                choice["stop_reason"] = json.dumps({"la_agents": {"cached": 0}})
            yield choice
            if reason is not None:
                return

    def _matcher(self, body: dict[str, Any]) -> Any:
        if "structured_outputs" not in body:
            return None
        from llguidance import LLMatcher
        from llguidance.hf import from_tokenizer

        vocab_size = int(self.loaded.model.config.vocab_size)
        tokenizer: Any = self.loaded.tokenizer
        ends = sorted(self.loaded.eos_token_ids)
        matcher = LLMatcher(
            from_tokenizer(tokenizer, n_vocab=vocab_size, eos_token=ends), body["structured_outputs"]["grammar"]
        )
        assert not matcher.is_error(), matcher.get_error()
        return matcher

    @staticmethod
    def _allowed(matcher: Any, vocab_size: int) -> torch.Tensor:
        bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        return torch.from_numpy(np.unpackbits(bits, bitorder="little")[:vocab_size].astype(bool))


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn

    def do_GET(self) -> None:
        if self._is_refused():
            return
        card = {"id": NAME, "root": str(self.stand_in.folder), "max_model_len": self.stand_in.context}
        self._answer(200, self.stand_in.instead.get(self.path, {"data": [card]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._is_refused():
            return
        if self.path == "/tokenize":
            ids = self.stand_in.loaded.tokenizer.encode(body["prompt"], add_special_tokens=False)
            self._answer(200, self.stand_in.instead.get(self.path, {"tokens": ids}))
            return
        assert self.path == "/v1/completions"
        if body["vllm_xargs"].get("la_probe"):
            about = self.stand_in.about
            self._answer(200, {"kv_transfer_params": None if about is None else {"la_agents": about}})
            return
        with self.stand_in.lock:
            self.stand_in.bodies.append(body)
            instead = self.stand_in.answers.pop(0) if self.stand_in.answers else None
            self.stand_in.num_under_way += 1
        try:
            if isinstance(instead, int):
                self._answer(instead, {"error": {"message": "the prompt was: I am HIV positive", "code": instead}})
            elif instead != "cut":
                self._stream(body, instead)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with self.stand_in.lock:
                self.stand_in.num_under_way -= 1

    def _stream(self, body: dict[str, Any], instead: str | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if instead == "empty":
            return
        for choice in self.stand_in.tokens(body):
            choice |= {"finish_reason": "abort"} if instead == "abort" else {}
            self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
            self.wfile.flush()
            if instead == "cut late":
                return
            time.sleep(self.stand_in.pause)
        self.wfile.write(b"data: [DONE]\n\n")

    def _is_refused(self) -> bool:
        key = self.stand_in.api_key
        if key is None or self.headers.get("Authorization") == f"Bearer {key}":
            return False
        self._answer(401, {"error": {"message": "Unauthorized"}})
        return True

    def _answer(self, status: int, found: Any) -> None:
        text = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        pass

"""Server: what a client has to know of a vLLM server before its first request, and what its refusals mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from la_agents.errors import (
    ConfigurationError,
    EngineBusyError,
    GenerationError,
    LaAgentsError,
    RequestTooLargeError,
)
from la_agents.models.loading import load_tokenizer

if TYPE_CHECKING:
    import httpx
    from transformers import PreTrainedTokenizerBase

__all__ = ["BUSY", "PROTOCOL", "Server", "address_of", "checked_name", "refusal", "unreachable"]

PROTOCOL = 1
"""Of the plugin that this client talks to."""
BUSY = (429, 502, 503, 504)
"""Answers of a server, or of what stands before it, after which asking again may succeed."""

_SUFFIX = "-aligned"
_SAMPLE = "What should I cook tonight? Réponds en français: 東京."
_START = (
    "--scheduler-cls la_agents_vllm.gang_scheduler --logprobs-mode processed_logits --max-logprobs 64 "
    "--structured-outputs-config.backend guidance"
)


@dataclass(frozen=True)
class Server:
    """A server that was asked and can be used.

    Attributes:
        context: Tokens at most, prompt and answer together.
        end_token_ids: What ends an answer.
        vocab_size: Length of its logits.
        max_branches: Of one request.
        num_facts: Of a token's record.
        has_grammars: Whether its grammars are those of `la_agents.requests.Grammar`.
    """

    tokenizer: PreTrainedTokenizerBase
    eos_token_ids: frozenset[int]
    context: int
    vocab_size: int
    max_branches: int
    num_facts: int
    has_grammars: bool

    @classmethod
    def ask(cls, client: httpx.Client, model: str, tokenizer: str | None, ends: frozenset[int] | None) -> Server:
        """Find out.

        Raises:
            ConfigurationError: it is not a server of this model with the plugin, and so that this client knows it.
            ModelNotFoundError: the model's tokenizer is not to be found here.
            GenerationError: it does not answer.
        """
        try:
            card = _card(_get(client, "GET", "models"), model)
            about = _about(client, model)
            context = int(card["max_model_len"])
            numbers = {name: int(about[name]) for name in ("vocab_size", "max_branches", "num_facts")}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = (
                f"Expected what vLLM says of itself at {client.base_url.host}, got another form "
                f"({type(error).__name__}: {error!s:.40}); name the server, or a router that passes its answers on."
            )
            raise ConfigurationError(msg) from None
        found, own_ends = load_tokenizer(tokenizer or str(card.get("root") or model))
        _check_tokenizer(client, model, found)
        return cls(
            tokenizer=found,
            eos_token_ids=own_ends if ends is None else ends,
            context=context,
            has_grammars=bool(about.get("grammars")),
            **numbers,
        )


def _card(found: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    cards: dict[str, Mapping[str, Any]] = {card["id"]: card for card in found.get("data", [])}
    if model not in cards:
        served = ", ".join(cards) or "none"
        msg = f"Expected a server of {model!r}, got one of {served}; name what it serves (--served-model-name)."
        raise ConfigurationError(msg)
    return cards[model]


def _about(client: httpx.Client, model: str) -> Mapping[str, Any]:
    """What the plugin says of itself; a request of one token asks it."""
    body = {"model": model, "prompt": [0, 0], "max_tokens": 1, "temperature": 0, "vllm_xargs": {"la_probe": 1}}
    found = _get(client, "POST", "completions", json=body)
    about: Mapping[str, Any] = (found.get("kv_transfer_params") or {}).get("la_agents") or {}
    if "protocol" not in about:
        msg = f"Expected a vLLM server with la-agents-vllm, got one without; install it there and start with {_START}."
        raise ConfigurationError(msg)
    if about["protocol"] != PROTOCOL:
        msg = f"Expected la-agents-vllm of protocol {PROTOCOL}, got {about['version']}; install the same release twice."
        raise ConfigurationError(msg)
    if not about["records"]:
        msg = f"Expected a vLLM server that returns records of tokens, got one that does not; start it with {_START}."
        raise ConfigurationError(msg)
    return about


def _check_tokenizer(client: httpx.Client, model: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Compare with the server's, where it tells; a router may not know the way."""
    import httpx

    body = {"model": model, "prompt": _SAMPLE, "add_special_tokens": False}
    try:
        ids = client.post("../tokenize", json=body).raise_for_status().json()["tokens"]
    except (httpx.HTTPError, KeyError, TypeError, ValueError):
        return
    if isinstance(ids, list) and ids != tokenizer.encode(_SAMPLE, add_special_tokens=False):
        msg = f"Expected the tokenizer that the server has for {model!r}, got another; name it with tokenizer=."
        raise ConfigurationError(msg)


def _get(client: httpx.Client, method: str, path: str, **arguments: Any) -> Mapping[str, Any]:
    import httpx

    try:
        response = client.request(method, path, **arguments)
        if not response.is_success:
            raise refusal(response.status_code, response.text)
        found: Mapping[str, Any] = response.json()
    except httpx.HTTPError as error:
        raise unreachable(str(client.base_url), error) from None
    except json.JSONDecodeError:
        msg = f"Expected a vLLM server at {client.base_url.host}, got an answer that is not JSON."
        raise ConfigurationError(msg) from None
    return found


def checked_name(model: str) -> str:
    """A model's name, which says that it is served aligned.

    Raises:
        ConfigurationError: it does not.
    """
    if not isinstance(model, str) or not model.endswith(_SUFFIX):
        msg = f"Expected a model whose name ends in {_SUFFIX!r}, as it is served aligned, got {model!r}."
        raise ConfigurationError(msg)
    return model


def address_of(base_url: str) -> str:
    """Where a server's API is.

    Raises:
        ConfigurationError: it is no address.
    """
    import httpx

    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        msg = 'Expected base_url to be an address such as "http://gpu:8000", got another text.'
        raise ConfigurationError(msg)
    return str(url).rstrip("/").removesuffix("/v1") + "/v1/"


def unreachable(url: str, error: Exception) -> GenerationError:
    """No answer, or half of one. An address may hold a password, which is not repeated."""
    import httpx

    host = httpx.URL(url).netloc.decode()
    return GenerationError(f"Expected an answer of the vLLM server at {host}, got {type(error).__name__}; is it up?")


def refusal(status: int, text: str) -> LaAgentsError:
    """The error that a status stands for. What the server says is repeated only where it is the plugin's own words.

    vLLM's messages may hold what they are about, which is what a user said.
    """
    said = _said(text)
    why = f": {said}" if said.startswith("Expected ") else "."
    if status in (401, 403):
        return ConfigurationError("Expected an api_key that the vLLM server accepts, got another; set api_key.")
    if status == 404:
        return ConfigurationError("Expected a vLLM server of this model at this address, got 404; check both.")
    if status == 413:
        return RequestTooLargeError("Expected a request that the vLLM server takes, got 413; shorten the prompt.")
    if status in BUSY:
        return EngineBusyError(f"Expected a vLLM server with room, got {status}; ask again later.")
    if status < 500:
        return ConfigurationError(f"Expected a request that the vLLM server takes, got {status}{why}")
    return GenerationError(f"Expected an answer of the vLLM server, got {status}; its log says why.")


def _said(text: str) -> str:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return ""
    error = found.get("error", found) if isinstance(found, dict) else {}
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else ""

"""A vLLM server with the bundled model: `EngineTests`, our server before it, and clients that forge or go away."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.tools import tool

from la_agents import ChatLinearAlignment, LinearAlignmentLLM
from la_agents.engine_tests import EngineTests
from la_agents.vllm import VllmEngine

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
NAME = "smollm2-aligned"

needs_environment = pytest.mark.skipif(not PYTHON.exists(), reason="vLLM's environment is made by make test-vllm")
START = [
    *("-m", "vllm.entrypoints.openai.api_server", "--served-model-name", NAME, "--host", "127.0.0.1"),
    *("--dtype", "float32", "--enforce-eager", "--max-model-len", "1024", "--max-num-seqs", "32"),
    *("--block-size", "32", "--kv-cache-memory-bytes", str(400 * 2**20), "--generation-config", "vllm"),
    *("--scheduler-cls", "la_agents_vllm.gang_scheduler", "--structured-outputs-config.backend", "guidance"),
    *("--logprobs-mode", "processed_logits", "--max-logprobs", "64"),
]

PROCESSOR = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "VLLM_CPU_OMP_THREADS_BIND": f"0-{(os.cpu_count() or 1) - 1}",
}

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PYTHON.exists(), reason="vLLM's environment is made by make test-vllm"),
]


def test_the_plugin_keeps_rows_together_in_vllms_environment() -> None:
    """A few simulations; all of them, and vLLM with a model, in make test-vllm."""
    tests = ROOT / "integrations" / "vllm" / "tests"
    command = [str(PYTHON), "-m", "pytest", "-q", "-c", str(tests / "vllm.ini"), "--rootdir", str(tests.parent)]
    chosen = [str(tests / name) for name in ("test_vllm_processor.py", "test_vllm_scheduling.py")]
    environment = {**os.environ, "LA_SEEDS": "2", "VLLM_LOGGING_LEVEL": "ERROR"}
    done = subprocess.run([*command, *chosen], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that is up: one that `LA_VLLM_URL` names, else one of ours."""
    if named := os.environ.get("LA_VLLM_URL"):
        yield named
        return
    command = [str(PYTHON), *START, "--model", os.environ["LA_VLLM_MODEL"]]
    with _running(command, PROCESSOR, "/health", tmp_path_factory.mktemp("vllm") / "log") as found:
        yield found


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str], ready: str, log: Path) -> Iterator[str]:
    """A server's address, once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = [*command, "--port", url.rsplit(":", 1)[1]]
    environment = {**os.environ, **environment}
    with log.open("w") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as server:
        try:
            for _ in range(600):
                assert server.poll() is None, log.read_text()[-3000:]
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(url + ready, timeout=5).status_code == 200:
                        break
                time.sleep(1)
            else:
                pytest.fail("the server does not come up")
            yield url
        finally:
            server.terminate()


@pytest.mark.engine
class TestVllmServer(EngineTests):
    @pytest.fixture(scope="class")
    def engine(self, url: str) -> Iterator[VllmEngine]:  # type: ignore[override]
        with VllmEngine(url, NAME) as engine:
            yield engine


# -- the faces ---------------------------------------------------------------------------------------------------------


@tool
def look_up(city: str) -> str:
    """Look up the weather of a city."""
    return f"It is warm in {city}."


@pytest.mark.engine
def test_the_faces_work_on_it_and_report_what_alignment_did(url: str) -> None:
    principles = ["Talk like a pirate: say arr, ye and matey.", "Be brief."]
    with VllmEngine(url, NAME) as engine:
        chat = ChatLinearAlignment(engine=engine, principles=principles, compose="sum", max_tokens=16, temperature=0)
        answer = chat.invoke("What should I cook tonight?", explain=True)
        report = answer.response_metadata["alignment"]
        assert report["rows"] == 3
        assert report["mean_divergence"] > 0
        assert len(report["tokens"]) == report["num_tokens"]
        chunks = list(chat.stream("What should I cook tonight?"))
        assert "".join(str(chunk.content) for chunk in chunks) == answer.content
        assert chunks[-1].response_metadata["alignment"]["num_tokens"] == report["num_tokens"]
        called = chat.bind_tools([look_up], tool_choice="look_up").invoke("How is the weather in Oslo?", max_tokens=200)
        assert [call["name"] for call in called.tool_calls] == ["look_up"]
        llm = LinearAlignmentLLM(engine=engine, principles=principles[:1], max_tokens=8, temperature=0)
        assert "".join(llm.stream("Once upon a time")) == llm.invoke("Once upon a time") != ""


# -- the wire ----------------------------------------------------------------------------------------------------------

ALIGNED = {"la_branches": [*range(20, 40), *range(30, 60)], "la_lengths": [20, 30], "la_scale": 2.0}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}, "n": {"enum": [1, 2, 3]}},
    "required": ["city", "n"],
    "additionalProperties": False,
    "x-guidance": {"whitespace_flexible": False},
}


def body(**changes: Any) -> dict[str, Any]:
    return {
        "model": NAME,
        "prompt": list(range(10, 40)),
        "max_tokens": 12,
        "temperature": 0,
        "ignore_eos": True,
        "return_token_ids": True,
        "vllm_xargs": ALIGNED,
        **changes,
    }


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{url}/v1/", timeout=600, limits=httpx.Limits(max_connections=256)) as client:
        yield client


def answers(http: httpx.Client, headers: dict[str, str] | None = None, **changes: Any) -> list[list[int]]:
    """The tokens of each choice."""
    response = http.post("completions", json=body(**changes), headers=headers)
    assert response.status_code == 200, response.text
    return [choice["token_ids"] for choice in response.json()["choices"]]


def is_idle(http: httpx.Client) -> bool:
    """Whether nothing runs or waits, and no cache is used."""
    answers(http, max_tokens=1)  # vLLM's gauges follow its steps
    names = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
    lines = [
        line for line in http.get("../metrics").text.splitlines() if line.startswith(tuple(f"{n}{{" for n in names))
    ]
    assert len(lines) >= len(names)
    return all(float(line.split()[-1]) == 0 for line in lines)


def becomes_idle(http: httpx.Client) -> bool:
    return any(is_idle(http) or time.sleep(0.2) for _ in range(50))


@pytest.mark.engine
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"vllm_xargs": {"la_row": ["x", 0, 2]}}, "la_row"),
        ({"vllm_xargs": {**ALIGNED, "la_row": ["x", 1, 3]}}, "la_row"),
        ({"vllm_xargs": {**ALIGNED, "la_strength": 2}}, "la_strength"),
        ({"vllm_xargs": {**ALIGNED, "la_scale": -1}}, "la_scale"),
        ({"vllm_xargs": {**ALIGNED, "la_trigger": "<call>"}}, "la_trigger"),
        ({"vllm_xargs": {**ALIGNED, "la_lengths": [50]}, "presence_penalty": 1.0}, "presence_penalty"),
        ({"vllm_xargs": {**ALIGNED, "la_lengths": [20]}}, "la_lengths"),
        ({"vllm_xargs": {"la_branches": [1, 2] * 17, "la_lengths": [2] * 17, "la_scale": 1}}, "branches"),
        ({"top_k": 5, "temperature": 1.0}, "top_k"),
        ({"min_p": 0.1, "temperature": 1.0}, "min_p"),
        ({"logit_bias": {"5": 1.0}}, "logit_bias"),
        ({"frequency_penalty": 1.0}, "frequency_penalty"),
        ({"repetition_penalty": 1.2}, "repetition_penalty"),
        ({"prompt_logprobs": 1}, "prompt_logprobs"),
    ],
)
def test_what_cannot_be_is_refused_by_name(http: httpx.Client, changes: dict[str, Any], named: str) -> None:
    response = http.post("completions", json=body(**changes))
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]


@pytest.mark.engine
@pytest.mark.parametrize(
    "changes",
    [
        {"vllm_xargs": {"la_branches": [5, 99_999], "la_lengths": [2], "la_scale": 1}},
        {"vllm_xargs": {"la_branches": [5] * 1024, "la_lengths": [1024], "la_scale": 1}},
        {"prompt": [5]},
    ],
)
def test_what_only_the_scheduler_sees_ends_in_an_error_and_the_engine_lives(
    http: httpx.Client, changes: dict[str, Any]
) -> None:
    before = answers(http)
    assert http.post("completions", json=body(**changes)).status_code in (400, 500)
    assert answers(http) == before
    assert becomes_idle(http)


@pytest.mark.engine
def test_guessed_and_repeated_ids_change_nobodys_answer(http: httpx.Client) -> None:
    other = {**ALIGNED, "la_scale": 0.0}
    expected = [answers(http), answers(http, vllm_xargs=other)]
    assert expected[0] != expected[1]
    names = ["la-", "la-0-1", "cmpl-0-0", "same", "same", "same"]
    with ThreadPoolExecutor(12) as pool:
        found = list(
            pool.map(
                lambda i: answers(
                    http,
                    {"X-Request-Id": names[i // 2]},
                    vllm_xargs=other if i % 2 else ALIGNED,
                    request_id=names[i // 2],
                ),
                range(12),
            )
        )
    assert found == expected * 6
    assert becomes_idle(http)


@pytest.mark.engine
def test_what_requests_ask_for_beside_their_alignment(http: httpx.Client) -> None:
    sampled = {"temperature": 1.0, "seed": 5, "n": 2}
    one, other = answers(http, **sampled)
    assert one != other
    assert answers(http, **sampled) == [one, other]
    assert answers(http, **{**sampled, "seed": 6}) != [one, other]
    (tokens,) = answers(http, min_tokens=9, ignore_eos=False)
    assert len(tokens) >= 9
    (greedy,) = answers(http)
    assert answers(http, stop_token_ids=[greedy[3]]) == [greedy[: greedy.index(greedy[3]) + 1]]
    allowed = set(range(300, 340))
    assert allowed.issuperset(*answers(http, allowed_token_ids=sorted(allowed)))
    word = http.post("../detokenize", json={"model": NAME, "tokens": greedy[:1]}).json()["prompt"]
    assert greedy[0] not in answers(http, bad_words=[word])[0]
    for seed in range(3):
        asked = {
            "structured_outputs": {"json": SCHEMA},
            "max_tokens": 60,
            "ignore_eos": False,
            "seed": seed,
        }
        text = http.post("completions", json=body(temperature=1.0, **asked)).json()["choices"][0]["text"]
        assert set(json.loads(text)) == {"city", "n"}


@pytest.mark.engine
@pytest.mark.parametrize(
    ("changed", "instead", "named"),
    [
        ("--scheduler-cls", "vllm.v1.core.sched.scheduler.Scheduler", "--scheduler-cls la_agents_vllm.gang_scheduler"),
        ("--served-model-name", "smollm2", "-aligned"),
    ],
)
def test_a_server_that_would_not_align_does_not_start(tmp_path: Path, changed: str, instead: str, named: str) -> None:
    command = [str(PYTHON), *START, "--model", os.environ["LA_VLLM_MODEL"], "--load-format", "dummy"]
    command[command.index(changed) + 1] = instead
    log = tmp_path / "log"
    with pytest.raises(AssertionError), _running(command, PROCESSOR, "/health", log):
        pass
    assert named in log.read_text()


# -- clients that go away, and many at once ----------------------------------------------------------------------------


@pytest.mark.engine
def test_what_nobody_waits_for_any_more_is_freed(http: httpx.Client, url: str) -> None:
    before = answers(http)
    asked = body(stream=True, max_tokens=900)

    def leave(number: int) -> None:
        with http.stream("POST", "completions", json=asked) as stream:
            for _, line in zip(range(number), stream.iter_lines(), strict=False):
                assert "error" not in line

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(leave, range(12)))
    assert becomes_idle(http)
    # A client that is killed says nothing before it goes.
    program = f"""
import httpx, threading
def ask():
    with httpx.stream("POST", "{url}/v1/completions", json={asked!r}, timeout=600) as stream:
        for line in stream.iter_lines():
            print(line[:5], flush=True)
for _ in range(12):
    threading.Thread(target=ask).start()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        for _ in range(30):
            client.stdout.readline()
        client.kill()
    assert becomes_idle(http)
    assert answers(http) == before


@pytest.mark.engine
@pytest.mark.parametrize("crowd_is_aligned", [False, True])
def test_neither_kind_starves_among_many_of_the_other(http: httpx.Client, crowd_is_aligned: bool) -> None:
    """Of what is asked after it, hardly more than runs at once is answered before it."""
    crowd, one = ({"vllm_xargs": ALIGNED}, {"vllm_xargs": {}})[:: 1 if crowd_is_aligned else -1]
    stop, lock, num_answered = threading.Event(), threading.Lock(), 0

    def ask(_: int) -> None:
        nonlocal num_answered
        while not stop.is_set():
            answers(http, max_tokens=8, **crowd)
            with lock:
                num_answered += 1

    num_asking, at_once = 48, 32  # more rows than run at once, always
    with ThreadPoolExecutor(num_asking) as pool:
        asking = [pool.submit(ask, i) for i in range(num_asking)]
        try:
            while num_answered < num_asking:
                time.sleep(0.05)
            before = num_answered
            answers(http, max_tokens=8, **one)
            assert num_answered - before < num_asking + 2 * at_once
        finally:
            stop.set()
    assert all(each.exception() is None for each in asking)
    assert becomes_idle(http)


# -- la-agents-server before it ----------------------------------------------------------------------------------------


@pytest.mark.engine
def test_our_server_serves_users_with_it(url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from la_agents_server.cli import main; main()"]
    data = ["--data", str(tmp_path / "data")]
    key = subprocess.run(
        [*command, "keys", "add", "--user", "alice", *data], capture_output=True, text=True, check=True
    )
    serve = [*command, "serve", *data, "--store", str(tmp_path / "prefs"), "--engine", f"vllm+{url}", "--model", NAME]
    asked: dict[str, Any] = {"model": NAME, "max_tokens": 24, "temperature": 0}
    asked["messages"] = [{"role": "user", "content": "What should I cook tonight?"}]
    with (
        _running(serve, {}, "/ready", tmp_path / "log") as ours,
        httpx.Client(base_url=ours, headers={"Authorization": f"Bearer {key.stdout.strip()}"}, timeout=600) as client,
    ):

        def say(**changes: Any) -> httpx.Response:
            response = client.post("/v1/chat/completions", json={**asked, **changes})
            assert response.status_code == 200, response.text
            return response

        plain = say().json()
        assert plain["choices"][0]["message"]["content"]
        added = client.post(
            "/v1/preferences", json={"text": "Talk like a pirate: say arr, ye and matey.", "scope": "always"}
        )
        assert added.status_code in (200, 201)
        aligned = say().json()
        text = aligned["choices"][0]["message"]["content"]
        assert text != plain["choices"][0]["message"]["content"]
        events = [line.removeprefix("data: ") for line in say(stream=True).text.splitlines() if line]
        assert events[-1] == "[DONE]"
        pieces = [
            choice["delta"].get("content") or "" for event in events[:-1] for choice in json.loads(event)["choices"]
        ]
        assert "".join(pieces) == text

"""VllmEngine against a vLLM server with the bundled model: all of `EngineTests`, and a smoke of the environment."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@needs_environment
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log"
    command = [str(PYTHON), *START, "--port", str(port), "--model", os.environ["LA_VLLM_MODEL"]]
    environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_NUM_OF_RESERVED_CPU": "0"}
    environment |= {"VLLM_CPU_OMP_THREADS_BIND": f"0-{(os.cpu_count() or 1) - 1}"}
    with log.open("w") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/health", server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    pytest.fail("the server does not come up")


@needs_environment
@pytest.mark.engine
@pytest.mark.timeout(1800)
class TestVllmServer(EngineTests):
    @pytest.fixture(scope="class")
    def engine(self, url: str) -> Iterator[VllmEngine]:  # type: ignore[override]
        with VllmEngine(url, NAME) as engine:
            yield engine

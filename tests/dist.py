"""What goes to PyPI, tried as its users get it: `make test-dist`. Minutes, and it downloads (PyTorch included).

Source distributions and wheels are built apart from the working tree and checked; then they are installed into empty
environments: the light core with the LangGraph package, and the library with `[local]`, where the README's Python runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

_SHOWN_LINES = 3
"""Of what a command says that succeeds: pip and setuptools say a thousand."""

ROOT = Path(__file__).parents[1]
PACKAGES = [ROOT, *sorted(path.parent for path in ROOT.glob("integrations/*/pyproject.toml"))]

LIGHT = """
import sys
from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel
from la_agents import PreferenceRetriever, PreferenceStore, preferences_prompt
from la_agents.tools import preference_tools
from la_agents_langgraph import PreferenceMiddleware

store = PreferenceStore("prefs")
store.add("alice", "I am vegetarian.")
config = {"configurable": {"user_id": "alice"}}
assert "vegetarian" in preferences_prompt(store, "alice", "What shall I cook tonight?")
assert PreferenceRetriever(store=store).invoke("What shall I cook tonight?", config)
agent = create_agent(FakeListChatModel(responses=["Pasta."]), middleware=[PreferenceMiddleware(store)])
answer = agent.invoke({"messages": [("human", "What shall I cook tonight?")]}, config)["messages"][-1]
assert answer.response_metadata["alignment"]["principles"]
assert not {"torch", "transformers"} & {*sys.modules}
"""


def run(*command: object, cwd: Path = ROOT, **environment: str) -> None:
    """Run a command, shown; if it fails, show what it said, and end."""
    print("$", *command, flush=True)
    everything: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "check": False}
    done = subprocess.run([*map(str, command)], cwd=cwd, env={**os.environ, **environment}, **everything)
    lines = done.stdout.splitlines()
    print(*(lines if done.returncode else lines[-_SHOWN_LINES:]), sep="\n", flush=True)
    if done.returncode:
        sys.exit(f"status {done.returncode}: {command}")


def build(dist: Path) -> None:
    """A source distribution of each package, and from that its wheel; complete, and as PyPI wants them."""
    for package in PACKAGES:
        run(sys.executable, "-m", "build", "--outdir", dist, package)
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(dist.iterdir()))
    for package in PACKAGES:
        _check_complete(package, dist)


def _check_complete(package: Path, dist: Path) -> None:
    """Every tracked file of the package is in the wheel, and the project's own are in the source distribution."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=package, capture_output=True, text=True, check=True
    ).stdout.split()
    name = next(f.split("/")[0] for f in tracked if re.fullmatch(r"la_agents\w*/__init__\.py", f))
    (wheel,) = dist.glob(f"{name}-*.whl")
    (source,) = dist.glob(f"{name}-*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        absent = {f for f in tracked if f.startswith(f"{name}/")} - {*archive.namelist()}
        assert any(f.endswith("/LICENSE") for f in archive.namelist()), wheel.name
        (about,) = (archive.read(f).decode() for f in archive.namelist() if f.endswith(".dist-info/METADATA"))
    relative = [link for link in re.findall(r"\]\(([^)\s]+)\)", about) if not link.startswith(("https://", "#"))]
    assert not relative, f"{wheel.name} shows relative links: {relative}"
    with tarfile.open(source) as sources:
        there = {f.partition("/")[2] for f in sources.getnames()}
        absent |= {f for f in tracked if not f.startswith(".") and "/." not in f} - there
    assert not absent, f"{wheel.name} or {source.name} lacks {sorted(absent)}"
    print(f"{wheel.name} and {source.name} are complete")


def environment(folder: Path, dist: Path, *requirements: str) -> Path:
    """An empty environment with these installed from the wheels; its Python."""
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    run(python, "-m", "pip", "install", "-q", "--find-links", dist, "-c", constraints, *requirements, cwd=dist)
    return python


def try_light(folder: Path, dist: Path) -> None:
    """The memory, its faces and the middleware, without torch; a model is refused with the command that helps."""
    python = environment(folder / "light", dist, "la-agents", "la-agents-langgraph")
    models = {"LA_AGENTS_DATA": str(folder / "light-data")}
    run(python.parent / "la-agents", "setup", cwd=folder, **models)
    run(python, "-m", "pip", "check", cwd=folder)
    run(python, "-c", LIGHT, cwd=folder, **models)
    command = [str(python.parent / "la-agents"), "ask", "Why?", "--user", "alice"]
    asked = subprocess.run(
        command, cwd=folder, env={**os.environ, **models}, capture_output=True, text=True, check=False
    )
    assert (asked.returncode, asked.stdout) == (2, ""), asked.stderr
    assert 'pip install "la-agents[local]"' in asked.stderr


def try_local(folder: Path, dist: Path) -> None:
    """The main way: the README's Python, with models that `la-agents setup` fetched."""
    python = environment(folder / "local", dist, "la-agents[local]")
    models = {"LA_AGENTS_DATA": str(folder / "data"), "LA_AGENTS_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    run(python.parent / "la-agents", "setup", cwd=folder, **models)
    run(python, "-m", "pip", "check", cwd=folder)
    run(python.parent / "la-agents", "doctor", cwd=folder, **models)
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code
    run(python, "-c", "\n".join(code), cwd=folder, **models)


def main() -> None:
    """Build, check, install, try."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dist = folder / "dist"
        dist.mkdir()
        build(dist)
        try_light(folder, dist)
        try_local(folder, dist)
    print(f"{2 * len(PACKAGES)} distributions built, checked, installed and tried")


if __name__ == "__main__":
    main()

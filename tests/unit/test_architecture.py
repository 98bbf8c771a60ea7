"""The page on the architecture says what is there: the rooms, who imports whom, and the way of a request."""

from __future__ import annotations

import graphlib
import importlib
import inspect
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def block(title: str) -> list[str]:
    """The lines of the page's block of that title."""
    found = re.search(rf'```text title="{title}"\n(.*?)```', PAGE, re.DOTALL)
    assert found, title
    return found[1].splitlines()


def rooms() -> list[list[str]]:
    """The rooms of each line of the list."""
    return [re.findall(r"(\w+)(?:/|\.py)(?=\s)", line[:28]) for line in block("rooms")]


def resolve(name: str) -> Any:
    """What a dotted name stands for."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(["la_agents", *parts[:length]]))
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("la_agents"):
                raise  # what an extra brings
            continue
        for part in parts[length:]:
            found = inspect.getattr_static(found, part) if inspect.isclass(found) else getattr(found, part)
        return found
    raise AssertionError(name)


# -- rooms -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imports() -> Any:
    """Who imports whom in the library, imports for type checkers included."""
    grimp = pytest.importorskip("grimp", reason="the extra lint is not installed")
    return grimp.build_graph("la_agents", cache_dir=None)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_the_list_has_all_rooms_once() -> None:
    listed = [room for line in rooms() for room in line]
    folder = ROOT / "la_agents"
    files = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
    folders = {path.name for path in folder.iterdir() if (path / "__init__.py").exists()}
    assert sorted(listed) == sorted(files | folders)


def test_no_file_imports_itself_by_way_of_others(imports: Any) -> None:
    graph = {module: imports.find_modules_directly_imported_by(module) for module in imports.modules}
    assert len(graph) > 100
    graphlib.TopologicalSorter(graph).prepare()  # it raises CycleError, which names the files


def test_imports_point_down_the_list(imports: Any) -> None:
    level = {room: number for number, line in enumerate(rooms()) for room in line}
    against = [
        f"{importer} imports {imported}"
        for importer in imports.modules
        for imported in imports.find_modules_directly_imported_by(importer)
        if "" not in (room_of(importer), room_of(imported)) and room_of(importer) != room_of(imported)
        if level[room_of(importer)] >= level[room_of(imported)]
    ]
    assert against == []


@pytest.mark.parametrize(
    ("room", "other"), [("engine", "preferences"), ("preferences", "engine"), ("requests", "engine")]
)
def test_rooms_that_know_nothing_of_each_other(imports: Any, room: str, other: str) -> None:
    assert not imports.chain_exists(f"la_agents.{room}", f"la_agents.{other}", as_packages=True)


def test_the_rooms_without_torch_import_without_torch() -> None:
    light = "requests, preferences.store, learning, retrievers, tools, calibration, report.values"
    modules = ", ".join(f"la_agents.{name}" for name in light.split(", "))
    code = f"import sys, {modules}; print({{'torch', 'transformers'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# -- the way of a request ----------------------------------------------------------------------------------------------


@contextmanager
def following() -> Iterator[dict[str, dict[Any, None]]]:
    """The code that each thread enters, in the order of the first times; threads that begin inside, and this one."""
    seen: dict[str, dict[Any, None]] = {}

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call":
            seen.setdefault(threading.current_thread().name, {}).setdefault(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def test_a_request_goes_the_way_that_the_page_shows(tmp_path: Path) -> None:
    from la_agents import ChatLinearAlignment, PreferenceStore
    from la_agents.engine.engine import Engine
    from tests.tiny import tiny_model

    with PreferenceStore(tmp_path) as store, Engine(tiny_model("qwen2")) as engine:
        store.add("alice", "Always be brief.", scope="always")
        llm = ChatLinearAlignment(engine=engine, preferences=store, max_tokens=4, max_divergence=0.5)
        alice = {"configurable": {"user_id": "alice"}}
        llm.render("What should I cook?", config=alice)  # what is read once only is read
        with following() as entered:
            llm.invoke("What should I cook?", config=alice)
    for title, thread in [("the caller's thread", "MainThread"), ("the engine's thread", "la_agents-engine")]:
        shown = [line.split()[0] for line in block(title)]
        names = {inspect.unwrap(resolve(name)).__code__: name for name in shown}
        assert [names[code] for code in entered[thread] if code in names] == shown


def test_every_name_on_the_page_exists() -> None:
    names = re.findall(r"`la_agents\.([\w.]+)`", PAGE)
    assert names
    for name in names:
        resolve(name)

"""Without the extra `local`: everything but the models works, and whoever asks for a model is told what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from la_agents.models.local_extra import PACKAGES

ABSENT = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {PACKAGES!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""

MEMORY = """
import asyncio
from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from la_agents import PreferenceRetriever, PreferenceStore, preferences_prompt
from la_agents.learning import FeedbackRecorder, PreferenceLearner
from la_agents.tools import preference_tools
from la_agents_langgraph import ChromaStore, PreferenceMiddleware

alice = {"configurable": {"user_id": "alice"}}
with PreferenceStore(sys.argv[1]) as store:
    store.add("alice", "Answer in French.", scope="always")
    store.add("alice", "I am vegetarian.")
    (found,) = PreferenceRetriever(store=store, k=0).invoke("Why?", config=alice)
    assert found.page_content == "Answer in French."
    assert [s.preference.text for s in store.search("alice", "I eat no meat.", k=1)] == ["I am vegetarian."]
    recall = next(tool for tool in preference_tools(store) if tool.name == "recall_preferences")
    assert "vegetarian" in str(recall.invoke({"query": "What does the user eat?"}, config=alice))
    PreferenceLearner(store).learn([HumanMessage("Please always answer briefly.")], user_id="alice")
    assert any("briefly" in p.text for p in [*store.list("alice"), *store.proposals.list("alice")])
    model = GenericFakeChatModel(messages=iter([AIMessage("Bonjour.")]))
    agent = create_agent(model, middleware=[PreferenceMiddleware(store)])
    answer = asyncio.run(agent.ainvoke({"messages": "Hello"}, alice))["messages"][-1]
    assert answer.text == "Bonjour."
    assert FeedbackRecorder(store).rate(answer, 1, config=alice).changed
    assert "- Answer in French." in preferences_prompt(store, "alice", "Hello")
with ChromaStore(sys.argv[1] + "/items") as items:
    items.put(("notes",), "a", {"text": "The sea is blue."})
    assert items.search(("notes",), query="What colour is the sea?")[0].value == {"text": "The sea is blue."}
loaded = sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[2].split()))
assert not loaded, loaded
print("all there")
"""

MODELS = """
from la_agents import ChatLinearAlignment, LinearAlignmentLLM
from la_agents.errors import LaAgentsError
from la_agents.models import load_model

asked = [lambda: load_model(), lambda: load_model("no/such/model"), lambda: ChatLinearAlignment().invoke("Hello")]
for ask in (*asked, lambda: LinearAlignmentLLM().invoke("Hello"), lambda: ChatLinearAlignment().load()):
    try:
        ask()
    except LaAgentsError as error:
        print(error)
"""

CLI = "from la_agents.cli import app\napp(sys.argv[1:])"


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    path = os.pathsep.join(map(str, (root, root / "integrations" / "langgraph")))
    command = [sys.executable, "-c", ABSENT + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})


def test_the_memory_its_faces_and_the_middleware_need_none_of_it(tmp_path: Path) -> None:
    done = run(MEMORY, str(tmp_path / "prefs"), " ".join(PACKAGES))
    assert done.stdout == "all there\n", done.stderr


def test_whoever_asks_for_a_model_is_told_what_to_install() -> None:
    done = run(MODELS)
    lines = done.stdout.splitlines()
    assert len(lines) == 5, done.stderr
    for line in lines:
        assert 'pip install "la-agents[local]"' in line
        assert all(package in line for package in PACKAGES)


def test_commands_of_the_memory_work_and_those_of_models_end_in_one_line(tmp_path: Path) -> None:
    store = ["--store", str(tmp_path / "prefs")]
    assert run(CLI, *store, "prefs", "add", "Be brief.", "-u", "alice").returncode == 0
    for command in (
        ["ask", "Why?", "-u", "alice"],
        ["chat", "-u", "alice"],
        ["evaluate", "steerability"],
        ["calibrate"],
    ):
        done = run(CLI, *store, *command)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: ")
        measures = command[0] in ("evaluate", "calibrate")  # with an extra that includes `local`
        assert "la-agents[local]" in line or (measures and "la-agents[evaluation]" in line)

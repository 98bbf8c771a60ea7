"""Each line of the scheduling that keeps rows together is needed: without it, the simulation finds a fault."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

from simulation import simulate

from la_agents_vllm import scheduling

pytestmark = pytest.mark.engine  # minutes

SOURCE = Path(scheduling.__file__).read_text(encoding="utf-8")
SEEDS = (65, *range(60))

MUTANTS = {
    "a row does not wait a token before its prompt's end": (
        "n = max(0, min(n, request.num_tokens - 1 - num_computed_tokens))",
        "pass",
    ),
    "what a part of the rows computed is delivered": ("self._pull(row, drop=True)", "self._pull(row, drop=False)"),
    "the other rows of a preempted one stay": (
        "others = [row for row in gang.rows if row is not request and row.status == RequestStatus.RUNNING]",
        "others = []",
    ),
    "one row's output is dropped and the others' delivered": (
        "super()._preempt_request(request, timestamp, drop, **kwargs)",
        "super()._preempt_request(request, timestamp, drop_stale_output, **kwargs)",
    ),
    "what is dropped of one row already is delivered of the others": (
        "any(row.drop_stale_output and row.num_stale_output_tokens for row in gang.rows)",
        "False",
    ),
    "rows that are scheduled already keep their output": (
        "any(row in (self._scheduled or ()) for row in others)",
        "False",
    ),
    "a row that the loop is past is taken out at once": (
        "if self._scheduled is None or self._is_after_cursor(row):",
        "if True:",
    ),
    "a row is taken for one that is to come": (
        "if cursor is None or cursor.status != RequestStatus.RUNNING or cursor not in self.running:",
        "if cursor is None:",
    ),
    "a prefix hit up to the last token is taken": (
        "if num_tokens == request.num_tokens - 1 and request.request_id in self._gangs:",
        "if False:",
    ),
    "rows that wait for each other go on waiting": ("self._give_way()", "pass"),
    "a row that was preempted late counts as one that goes on": (
        "self.prev_step_scheduled_req_ids.discard(row.request_id)",
        "pass",
    ),
    "one row alone is finished": ("self._apart.add(gang)", "pass"),
    "nobody hears that a branch failed": ("self.grammar_compile_error_reqs.add(gang.leader.request_id)", "pass"),
    "rows have room for answers of different lengths": (
        "most = min(request.max_tokens, self.max_model_len - longest)",
        "most = request.max_tokens",
    ),
    "steps run ahead of the longest row's end": (
        "elif max(row.num_computed_tokens for row in gang.rows) >= self.max_model_len - 1:",
        "elif False:",
    ),
    "branches count after the trigger": ("output.grammar_bitmask[i] = 0", "pass"),
    "parted rows are not noticed": ("if gang.together and not all(row", "if False and not all(row"),
    "a row that the loop is past is not taken out": ("self._late.append((row, drop))", "pass"),
    "blocks past a shortened prefix hit are kept": (
        "blocks = self.kv_cache_manager.truncate_computed_blocks(blocks, num_tokens)",
        "pass",
    ),
    "clients hear of rows that they did not ask for": ("if not output.request_id.startswith(self._prefix)", ""),
    "requests that ended are remembered": ("self._ended.clear()", "pass"),
    "rows that ended keep their request": ("self._gangs.pop(row.request_id, None)", "pass"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_without_it_the_simulation_finds_a_fault(tiny_folder: str, name: str) -> None:
    line, instead = MUTANTS[name]
    assert SOURCE.count(line) == 1, name
    mutant: Any = types.ModuleType("mutant")
    exec(compile(SOURCE.replace(line, instead), "mutant", "exec"), mutant.__dict__)
    for seed in SEEDS:
        for load in ({"is_alone": True}, {}, {"fault": 0.1}):
            for is_second in (False, True):
                try:
                    outcome = simulate(tiny_folder, seed, is_second=is_second, scheduling=mutant, **load)
                except Exception:  # noqa: BLE001  # an engine that dies is a mutant that dies
                    return
                if outcome.problems:
                    return
    pytest.fail("it lives")

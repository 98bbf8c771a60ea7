"""Calibration: the strength, placement and wording with which a model follows each principle best.

Every candidate, a way of prompting or of aligning, answers the same questions under the same principles. Let `a` be its
mean adherence, `p` the perplexity of its answers under the unaligned model, `c` the relevance of answers to their
questions (cosine) and `d` their repetition. With the rate `r`, adherence that a doubling of perplexity must gain,

    worth = a - r log2 p + 0.8 (c - d)

The default, for principles without a measurement, is what the library does without a calibration, unless another
candidate's worth, the mean over principles, is greater by more than `MARGIN`: with few questions smaller differences
are chance. Then it is the most followed of those within `MARGIN` of the greatest worth. A measured principle has
guidance of its own where a candidate is worth more than the default by more than `MARGIN`. A candidate that follows a
principle less than the best way of prompting, by more than `MARGIN`, is not chosen for it, whatever its worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from la_agents.calibration import DEFAULT, Calibration, Guidance
from la_agents.errors import ConfigurationError
from la_agents.evaluation.adherence import MEASURED, measured_named
from la_agents.evaluation.methods import METHODS, Setting, settings_of
from la_agents.evaluation.plots import Panel
from la_agents.evaluation.provenance import provenance_line
from la_agents.evaluation.reports import LEGEND, costs_table, curves
from la_agents.evaluation.runs import Row
from la_agents.evaluation.steerability import plan_of
from la_agents.evaluation.suites import Options, Plan, Suite
from la_agents.evaluation.summary import PROMPTS, grouped
from la_agents.evaluation.tables import Cell, markdown_table
from la_agents.guidance import DEFAULT_METHOD

__all__ = ["CANDIDATES", "FEW", "RATE", "Finding", "Findings", "calibrate", "calibration_suite", "candidates", "worth"]

RATE = 0.08
"""Adherence, of 1, that a doubling of perplexity must gain."""

SENSE = 0.8
"""Adherence that relevance is worth, and repetition costs: an answer that only talks about the principle, or repeats
itself, must not win. With 0.2 the bundled model's best setting talked about its principles only."""

MARGIN = 0.05
FEW = 8
"""Fewer questions than this decide too little to rely on."""

CANDIDATES = (*PROMPTS, *(name for name, method in METHODS.items() if method.candidate))
USUAL = Setting(DEFAULT_METHOD, DEFAULT.strength).key
"""What the library does for a model without a calibration."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found for one principle; adherences in [0, 1].

    Attributes:
        principle: Its id.
        num_questions: That it was measured on: fewer than `FEW` are too few to rely on.
        setting: The candidate that is worth most for it.
        default: Adherence with what is best on average.
        prompted: With the best of the ways of prompting, in hindsight.
    """

    principle: str
    num_questions: int
    setting: str
    adherence: float
    default: float
    prompted: float


@dataclass(frozen=True, slots=True)
class Findings:
    """A calibration and what it rests on.

    Attributes:
        default: The candidate that is best on average.
        num_questions: Asked under each principle.
        unseen: Adherence on the half of the questions that nothing was chosen on, the mean of both halves; None with a
            single question.
        unseen_prompted: Of the way of prompting that is best on the other half.
    """

    calibration: Calibration
    default: str
    principles: Sequence[Finding]
    num_questions: int
    unseen: float | None
    unseen_prompted: float | None

    @property
    def warnings(self) -> list[str]:
        """What was asked too little to rely on."""
        if self.num_questions < FEW:
            return [f"Questions asked: {self.num_questions}. At least {FEW} are needed to recommend a setting."]
        few = [f"{one.principle} ({one.num_questions})" for one in self.principles if one.num_questions < FEW]
        return [f"Fewer than {FEW} questions, too few to rely on, for: {', '.join(few)}."] if few else []


def candidates(strengths: Sequence[float] = ()) -> list[Setting]:
    """The settings to measure.

    Raises:
        ConfigurationError: a strength is out of range, or none is above 0.
    """
    chosen = sorted(set(strengths or (DEFAULT.strength,)))
    if not all(strength > 0 for strength in chosen):
        msg = f"Expected strengths above 0 to calibrate (prompting, strength 0, always takes part), got {chosen}."
        raise ConfigurationError(msg)
    return settings_of(CANDIDATES, chosen, ())


def worth(rows: Sequence[Row], rate: float = RATE) -> float:
    """`a - r log2 p + 0.8 (c - d)`, in adherence; what an answer without tokens does not have counts as 0."""

    def mean(name: str) -> float:
        return fmean([row[name] for row in rows if row[name] is not None] or [0.0])

    bits = mean("nll") / math.log(2)
    return mean("adherence") - rate * bits + SENSE * (mean("relevance") - mean("repetition"))


def calibrate(rows: Sequence[Row], model: str, rate: float = RATE) -> Findings:
    """Read the rows of a steerability run of `candidates`.

    Raises:
        ConfigurationError: there are no candidates among the rows, or the rate is not positive.
    """
    _check_rate(rate)
    own = [row for row in rows if row["method"] in CANDIDATES]
    if not own:
        msg = "Expected rows of the candidates of a calibration, got none; run `la-agents calibrate`."
        raise ConfigurationError(msg)
    default, chosen = _choose(own, rate)
    findings = []
    for name, part in grouped(own, "principle").items():
        adherence = {setting: fmean(row["adherence"] for row in r) for setting, r in grouped(part, "setting").items()}
        best, num_questions = chosen[name], len(grouped(part, "question"))
        prompted = max((value for setting, value in adherence.items() if setting in PROMPTS), default=0.0)
        findings.append(Finding(name, num_questions, best, adherence[best], adherence.get(default, 0.0), prompted))
    measured = {MEASURED[one.principle].text: _guidance(own, one.setting) for one in findings}
    return Findings(
        Calibration(model, _guidance(own, default), measured),
        default,
        findings,
        len(grouped(own, "question")),
        *_unseen(own, rate),
    )


def calibration_suite(rate: float = RATE) -> Suite:
    """The suite that measures the candidates, and reports what `calibrate` chooses.

    Raises:
        ConfigurationError: the rate is not finite, or not above 0.
    """
    _check_rate(rate)
    return Suite("calibration", _plan, partial(_report, rate=rate), ("data", "strengths", "principles"))


def _check_rate(rate: float) -> None:
    if not 0 < rate < math.inf:
        msg = f"Expected a rate above 0, got {rate!r}."
        raise ConfigurationError(msg)


def _plan(options: Options) -> Plan:
    settings = candidates(options.strengths)
    return plan_of(options.questions(), measured_named(options.principles), settings, options.seed)


def _report(header: Row, rows: Sequence[Row], rate: float) -> tuple[list[str], list[Panel]]:
    found, line = calibrate(rows, header["provenance"]["model"]["name"], rate), provenance_line(header)
    said = f"Best on average: {found.default}. (A doubling of perplexity has to gain {rate:g} of adherence.)"
    if found.unseen is not None and found.unseen_prompted is not None:
        said += (
            f" On questions that nothing was chosen on: adherence {found.unseen:.2f}, the best way of prompting "
            f"{found.unseen_prompted:.2f}."
        )
    columns = ["principle", "questions", "followed best with", "adherence", "default", "best prompting"]
    cells: list[list[Cell]] = [
        [
            one.principle,
            one.num_questions,
            one.setting,
            *(f"{value:.2f}" for value in (one.adherence, one.default, one.prompted)),
        ]
        for one in found.principles
    ]
    warned = [f"**{warning}**\n" for warning in found.warnings]
    tables = [f"{said}\n", *warned, markdown_table(columns, cells, line), LEGEND, costs_table(rows, line)]
    return tables, [curves("all principles", rows, "ppl_0", "perplexity under the unaligned model")]


def _choose(rows: Sequence[Row], rate: float) -> tuple[str, dict[str, str]]:
    """The best candidate on average, and that of each principle."""
    parts = {name: grouped(part, "setting") for name, part in grouped(rows, "principle").items()}
    worths = {name: {setting: worth(own, rate) for setting, own in part.items()} for name, part in parts.items()}
    common = sorted(set.intersection(*(set(own) for own in worths.values())) or {USUAL})

    def followed(one: str) -> float:
        return fmean(_adherence(part.get(one, ()), one) for part in parts.values())

    overall = {one: fmean(own.get(one, -1.0) for own in worths.values()) for one in common}
    near = [one for one in common if overall[one] >= max(overall.values()) - MARGIN]
    default = USUAL if USUAL in near else max(near, key=followed)
    prompted = max((one for one in common if one.startswith("prompt")), key=followed, default=None)
    chosen = {}
    for name, part in parts.items():
        least = _adherence(part[prompted], prompted) - MARGIN if prompted else -math.inf
        chosen[name] = _better(
            {one: worths[name][one] for one, own in part.items() if _adherence(own, one) >= least}, default
        )
    return default, chosen


def _better(worths: Mapping[str, float], incumbent: str) -> str:
    """The setting of greatest worth, where it exceeds the incumbent's by more than chance."""
    best = max(worths, key=lambda setting: worths[setting])
    return best if worths[best] > worths.get(incumbent, -math.inf) + MARGIN else incumbent


def _adherence(rows: Sequence[Row], setting: str) -> float:
    return fmean([row["adherence"] for row in rows if row["setting"] == setting] or [0.0])


def _guidance(rows: Sequence[Row], setting: str) -> Guidance:
    row = next(row for row in rows if row["setting"] == setting)
    return Guidance(row["strength"] or 0.0, METHODS[row["method"]].placing)


def _unseen(rows: Sequence[Row], rate: float) -> tuple[float | None, float | None]:
    """Adherence of what each half of the questions chooses, on the other half: calibrated, and prompted."""
    numbers = sorted({row["question"] for row in rows})
    halves = [[row for row in rows if row["question"] in numbers[start::2]] for start in (0, 1)]
    prompts = [[row for row in half if row["method"].startswith("prompt")] for half in halves]
    if not all(halves) or not all(prompts):
        return None, None

    def score(seen: Sequence[Row], other: Sequence[Row], *, single: bool) -> float:
        default, chosen = _choose(seen, rate)
        return fmean(
            _adherence(own, default if single else chosen.get(name, default))
            for name, own in grouped(other, "principle").items()
        )

    first, second = halves
    calibrated = fmean([score(first, second, single=False), score(second, first, single=False)])
    first, second = prompts
    return calibrated, fmean([score(first, second, single=True), score(second, first, single=True)])

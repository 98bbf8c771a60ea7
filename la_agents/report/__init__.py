"""Report: what alignment did to one answer, as values, as a page and as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from la_agents.lazy_names import names_of

if TYPE_CHECKING:
    from la_agents.report.building import alignment_report, principle_values
    from la_agents.report.report import AlignmentReport
    from la_agents.report.values import BranchReport, CandidateReport, PrincipleReport, TokenReport

_MODULES = {
    "AlignmentReport": "report",
    "BranchReport": "values",
    "CandidateReport": "values",
    "PrincipleReport": "values",
    "TokenReport": "values",
    "alignment_report": "building",
    "principle_values": "building",
}

__all__ = [
    "AlignmentReport",
    "BranchReport",
    "CandidateReport",
    "PrincipleReport",
    "TokenReport",
    "alignment_report",
    "principle_values",
]

__getattr__, __dir__ = names_of(__name__, _MODULES)

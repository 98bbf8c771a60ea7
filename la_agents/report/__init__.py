"""Report: what alignment did to one answer, as values, as a page and as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from la_agents.lazy_names import names_of

if TYPE_CHECKING:
    from la_agents.report.report import (
        AlignmentReport,
        BranchReport,
        CandidateReport,
        PrincipleReport,
        TokenReport,
        alignment_report,
        principle_values,
    )

__all__ = [
    "AlignmentReport",
    "BranchReport",
    "CandidateReport",
    "PrincipleReport",
    "TokenReport",
    "alignment_report",
    "principle_values",
]

__getattr__, __dir__ = names_of(__name__, dict.fromkeys(__all__, "report"))

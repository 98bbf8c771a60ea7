"""Plots: curves with their intervals as PNG files, each with the provenance of its numbers under it.

matplotlib comes with the extra `evaluation`; nothing here reads or changes its global state, so a program that plots
with it, too, is not disturbed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from la_agents.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["Panel", "Point", "save_panels"]

_MARKERS = "osD^vP*Xphd<>"


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve.

    Attributes:
        low, high: The interval of y, or both None.
        label: Written beside it.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""


@dataclass(frozen=True)
class Panel:
    """One set of axes: a curve a name, drawn in the order of its points.

    Attributes:
        ticks: What stands at places of the x axis, instead of numbers.
        log_x: Whether equal steps of the x axis are equal factors.
    """

    title: str
    x_label: str
    y_label: str
    curves: Mapping[str, Sequence[Point]]
    y_limits: tuple[float, float] | None = None
    ticks: Sequence[str] = ()
    log_x: bool = False


def save_panels(path: Path, panels: Sequence[Panel], provenance: str, *, columns: int = 3) -> Path:
    """Draw the panels in a grid with one legend, and write the PNG.

    Curves of one name have one colour and marker in all panels. The bytes depend on what is drawn and on the version of
    matplotlib alone.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        msg = "Expected matplotlib for the plots, it is not installed; run `pip install 'la-agents[evaluation]'`."
        raise ConfigurationError(msg) from error
    columns = min(columns, len(panels))
    rows, width = -(-len(panels) // columns), max(4.6 * columns, 6.0)
    figure = Figure(figsize=(width, 3.4 * rows + 0.9), dpi=110, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    handles: dict[str, Line2D] = {}
    for panel, ax in zip(panels, axes, strict=False):
        handles |= _draw(panel, ax, names)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    num_columns = min(len(names), int(width / 1.7))
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=num_columns, fontsize=8)
    figure.supxlabel("\n".join(textwrap.wrap(provenance, int(width * 20))), fontsize=6, color="0.4")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None, "Description": provenance})
    return path


def _draw(panel: Panel, ax: Axes, names: Sequence[str]) -> dict[str, Line2D]:
    """Draw the curves; each line by its name, for the legend."""
    handles = {}
    for name, points in panel.curves.items():
        number = names.index(name)
        colour, marker = f"C{number % 10}", _MARKERS[number % len(_MARKERS)]
        (handles[name],) = ax.plot(
            [p.x for p in points], [p.y for p in points], linewidth=1.2, color=colour, marker=marker, markersize=5
        )
        for point in points:
            if point.low is not None and point.high is not None:
                ax.vlines(point.x, point.low, point.high, color=colour, alpha=0.35, linewidth=1)
            if point.label:
                ax.annotate(point.label, (point.x, point.y), (4, 3), textcoords="offset points", fontsize=6)
    if panel.ticks:
        ax.set_xticks(range(len(panel.ticks)), panel.ticks)
    if panel.log_x:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
    ax.set_title(panel.title, fontsize=9)
    ax.set_xlabel(panel.x_label, fontsize=8)
    ax.set_ylabel(panel.y_label, fontsize=8)
    ax.tick_params(labelsize=7)
    ax.grid(alpha=0.25)
    if panel.y_limits:
        ax.set_ylim(*panel.y_limits)
    return handles

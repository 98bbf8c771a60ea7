"""The pictures of the concept page, drawn from the method's own functions: `python docs/pictures.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from la_agents.alignment import nucleus, plausible, policy, pushed

FOLDER = Path(__file__).with_name("images")
TOKENS = ["sea", "waves", "arr", "water", "aye", "ocean", "blue", "zebra"]
REFERENCE = torch.tensor([[4.6, 4.0, -1.2, 3.2, -1.6, 2.6, 1.4, -9.4]])
PRINCIPLE = torch.tensor([[4.3, 3.0, 3.6, 2.3, 2.5, 1.6, 0.2, -1.6]])
STRENGTH = 2.0
INK, PALE, SIGNAL, SECOND = "#1f2a37", "#c3ccd6", "#c2410c", "#0f766e"


def main() -> None:
    """Write the three pictures."""
    FOLDER.mkdir(exist_ok=True)
    mpl.rcParams.update(
        {"font.family": "sans-serif", "font.size": 9, "svg.hashsalt": "la_agents", "svg.fonttype": "none"}
    )
    for name, draw, height in (("placement", placement, 2.9), ("push", push, 2.6), ("support", support, 2.6)):
        figure = Figure(figsize=(7.2, height), layout="constrained")
        draw(figure)
        figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None}, facecolor="white")


def placement(figure: Figure) -> None:
    """The same conversation four times: the reference, and the three places of a principle."""
    for axes, (title, places) in zip(
        figure.subplots(1, 4),
        (("reference f_0", ()), ("system", ("system",)), ("user", ("user",)), ("both", ("system", "user"))),
        strict=True,
    ):
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
        axes.set_title(title, color=INK, fontsize=10)
        for name, text, low, high in (
            ("system", "You are a helpful\nassistant.", 0.58, 0.97),
            ("user", "Why is the sea salty?", 0.16, 0.53),
        ):
            box = FancyBboxPatch((0.05, low), 0.9, high - low, boxstyle="round,pad=0.01", fc="#f3f5f8", ec=PALE)
            axes.add_patch(box)
            axes.text(0.1, high - 0.03, name, color="#64748b", fontsize=7, va="top")
            axes.text(0.1, high - 0.1, text, color=INK, fontsize=8, va="top")
            if name in places:
                axes.text(0.1, low + 0.03, "Talk like a pirate.", color=SIGNAL, fontsize=8, weight="bold")
        axes.text(0.1, 0.04, "answer ...", color="#64748b", fontsize=8, style="italic")


def push(figure: Figure) -> None:
    """The two readings, and what each way of pushing makes of them."""
    left, right = figure.subplots(1, 2, sharey=True)
    bars(left, "the two readings", [("p_0", policy(REFERENCE), PALE), ("p_1", policy(PRINCIPLE), INK)])
    uniform, _ = pushed(REFERENCE, PRINCIPLE[:, None], torch.ones(1, 1), 1.0 + STRENGTH, 0.0, adaptive=False)
    tapered, _ = pushed(REFERENCE, PRINCIPLE[:, None], torch.ones(1, 1), 1.0 + STRENGTH, 1.0, adaptive=False)
    bars(
        right,
        f"pushed, strength {STRENGTH:g}",
        [("uniform", policy(uniform), SECOND), ("tapered", policy(tapered), SIGNAL)],
    )


def support(figure: Figure) -> None:
    """Which tokens two rules leave to choose from."""
    (axes,) = [figure.subplots(1, 1)]
    p_1 = policy(PRINCIPLE).exp()[0]
    axes.bar(range(len(TOKENS)), p_1.tolist(), color=PALE, width=0.7)
    axes.axhline(0.1 * float(p_1.max()), color=SIGNAL, linewidth=1, linestyle="--")
    axes.text(len(TOKENS) - 0.5, 0.1 * float(p_1.max()) + 0.012, "plausible: 0.1 max p_1", color=SIGNAL, ha="right")
    marks = (
        ("plausible", plausible(PRINCIPLE, torch.log(torch.tensor(0.1)).item()), SIGNAL, 0.05),
        ("nucleus, p 0.8, T_m 0.5", nucleus(PRINCIPLE, 0.8, 0.5), SECOND, 0.095),
    )
    for name, allowed, colour, above in marks:
        places = [place for place, one in enumerate(allowed[0].tolist()) if one]
        axes.plot(places, [float(p_1[place]) + above for place in places], "o", color=colour, markersize=5, label=name)
    labelled(axes, "p_1, and what may be chosen")
    axes.set_ylim(0, float(p_1.max()) + 0.16)


def bars(axes: Axes, title: str, policies: list[tuple[str, torch.Tensor, str]]) -> None:
    """Probabilities of the tokens, side by side."""
    for number, (name, log_policy, colour) in enumerate(policies):
        places = [place + 0.4 * number - 0.2 for place in range(len(TOKENS))]
        axes.bar(places, log_policy.exp()[0].tolist(), width=0.38, color=colour, label=name)
    labelled(axes, title)


def labelled(axes: Axes, title: str) -> None:
    axes.set_title(title, color=INK, fontsize=10)
    axes.set_xticks(range(len(TOKENS)), TOKENS, rotation=35)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right")


if __name__ == "__main__":
    main()

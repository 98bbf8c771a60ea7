"""Tables and plots carry their provenance, and say what they were given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from la_agents.evaluation.plots import Panel, Point, save_panels
from la_agents.evaluation.tables import markdown_table

PROVENANCE = "steerability · model tiny · code 0.1.0 · seed 0 · data sha256 0123456789ab"


def test_a_table_aligns_numbers_and_escapes_bars() -> None:
    text = markdown_table(["name", "n", "score"], [["a|b\nc", 3, 0.25], ["d", 4, None]], PROVENANCE)
    assert text.splitlines() == [
        "| name | n | score |",
        "| --- | ---: | ---: |",
        "| a\\|b c | 3 | 0.250 |",
        "| d | 4 | - |",
        "",
        f"*{PROVENANCE}*",
    ]


def test_a_plot_is_a_png_that_names_its_provenance_and_is_the_same_again(tmp_path: Path) -> None:
    curves = {"linear": [Point(0.1, 0.2, 0.1, 0.3, "0"), Point(0.4, 0.8, 0.6, 0.9, "1")], "base": [Point(0, 0.1)]}
    panels = [Panel(f"principle {n}", "divergence", "adherence", curves, (0, 1)) for n in range(4)]
    first = save_panels(tmp_path / "new" / "a.png", panels, PROVENANCE)
    second = save_panels(tmp_path / "b.png", panels, PROVENANCE)
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        assert image.info["Description"] == PROVENANCE
        assert image.getbbox() is not None
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 100  # not a blank page


def test_plotting_leaves_a_program_that_uses_matplotlib_alone(tmp_path: Path) -> None:
    code = (
        "import sys, json\nfrom pathlib import Path\nfrom la_agents.evaluation.plots import Panel, Point, save_panels\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"save_panels(Path({str(tmp_path / 'c.png')!r}), [Panel('t', 'x', 'y', {{'a': [Point(0, 0)]}})], 'p')\n"
        "print(json.dumps('matplotlib.pyplot' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False

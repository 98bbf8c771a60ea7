"""The notebooks of the documentation: run them and keep what they print: `python -m docs.run_notebooks [NAME ...]`.

The notebooks need nothing but Python, so their cells are run here as a script is, without Jupyter.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

NOTEBOOKS = sorted(Path(__file__).with_name("notebooks").glob("*.ipynb"))


def run(notebook: dict[str, Any], folder: Path) -> list[str]:
    """What each code cell prints, run in order in `folder`."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = []
    before = Path.cwd()
    os.chdir(folder)
    try:
        for number, cell in enumerate(code_cells(notebook), start=1):
            with redirect_stdout(io.StringIO()) as output:
                exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)
            printed.append(output.getvalue())
    finally:
        os.chdir(before)
    return printed


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def as_markdown(notebook: dict[str, Any]) -> str:
    """The notebook as a page: its text, its code, and what it printed."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```py\n{source}\n```")
        parts += [
            f"``` {{ .text .output }}\n{''.join(output['text']).rstrip()}\n```" for output in cell.get("outputs", ())
        ]
    return "\n\n".join(parts)


def main() -> None:
    """Run each, or those that are named, and write what it printed into it."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    chosen = sys.argv[1:] or [path.stem for path in NOTEBOOKS]
    for path in (path for path in NOTEBOOKS if path.stem in chosen):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder:
            printed = run(notebook, Path(folder))
        for number, (cell, text) in enumerate(zip(code_cells(notebook), printed, strict=True), start=1):
            lines = text.splitlines(keepends=True)
            cell["execution_count"] = number
            cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": lines}] if lines else []
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"Wrote {path.name}")


if __name__ == "__main__":
    main()

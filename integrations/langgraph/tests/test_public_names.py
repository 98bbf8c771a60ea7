"""The package stands on names that la_agents makes public: those of a package or module at its top."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "la_agents_langgraph"


def test_it_imports_public_names_only() -> None:
    found = 0
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "la_agents":
                assert node.module is not None
                assert node.module.count(".") <= 1, (file.name, node.module)
                public = importlib.import_module(node.module).__all__
                assert {alias.name for alias in node.names} <= {*public}, (file.name, node.module)
                found += 1
    assert found > 10

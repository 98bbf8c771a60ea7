"""What packagers and users of pip rely on: true lower bounds, one version, companions of one minor, whole metadata."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("integrations/*/pyproject.toml"))]

TRIED_APART = {"onnxruntime", "tokenizers", "torch"}
"""Older than what the oldest transformers takes, and than the oldest build for the CPU. Two are tried without the extra
`local`, on Python 3.10 (`nox -s light_oldest`); torch 2.9 was tried by hand, in its build for GPUs."""


def project(path: Path) -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read TOML by itself")
    found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return found


def module_of(path: Path) -> str:
    (package,) = path.parent.glob("la_agents*/__init__.py")
    return package.parent.name


def requirements(path: Path) -> Iterator[Requirement]:
    """What users install: without the extras of developers."""
    values = project(path)
    extras = {k: v for k, v in values.get("optional-dependencies", {}).items() if k in ("local", "evaluation", "oidc")}
    environment = {**default_environment(), "python_version": "3.11", "python_full_version": "3.11.0"}
    for text in [*values["dependencies"], *(text for extra in extras.values() for text in extra)]:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield requirement


def oldest() -> dict[str, Version]:
    lines = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


@pytest.mark.parametrize("path", PROJECTS, ids=module_of)
def test_each_lower_bound_is_what_make_test_oldest_installs(path: Path) -> None:
    pins, untrue = oldest(), []
    for requirement in requirements(path):
        name = canonicalize_name(requirement.name)
        if name.startswith("la-agents"):
            continue
        bounds = [each.version for each in requirement.specifier if each.operator == ">="]
        assert len(bounds) == 1, requirement
        release = Version(bounds[0]).release
        if (
            name not in pins
            or pins[name] < Version(bounds[0])
            or (pins[name].release[: len(release)] != release and name not in TRIED_APART)
        ):
            untrue.append(str(requirement))
    assert untrue == []


@pytest.mark.parametrize("path", PROJECTS, ids=module_of)
def test_metadata_is_whole(path: Path) -> None:
    values = project(path)
    assert {"name", "description", "license", "authors", "keywords", "requires-python"} <= values.keys()
    assert "readme" in (*values, *values["dynamic"])
    home = project(PROJECTS[0]).get("urls", {}).get("Repository")  # none until the project has a public address
    assert all(home and url.startswith(home) for url in values.get("urls", {}).values())
    assert all((path.parent / name).is_file() for name in values["license-files"])
    least = int(values["requires-python"].removeprefix(">=3."))
    versions = [each for each in values["classifiers"] if each.startswith("Programming Language :: Python :: 3.")]
    assert versions in ([], [f"Programming Language :: Python :: 3.{minor}" for minor in range(least, 14)])


@pytest.mark.parametrize("path", PROJECTS[1:], ids=module_of)
def test_companions_take_the_library_of_their_own_minor(path: Path) -> None:
    major, minor, *_ = importlib.import_module("la_agents").__version__.split(".")
    for own in (each for each in requirements(path) if each.name == "la-agents"):
        assert set(own.specifier) == set(SpecifierSet(f">={major}.{minor},<{major}.{int(minor) + 1}"))
    version = (path.parent / module_of(path) / "__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{major}.{minor}.' in version


def links(path: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s#]+)[^)]*\)", (path.parent / "README.md").read_text(encoding="utf-8"))


def test_links_of_the_readme_lead_somewhere() -> None:
    """They are relative here; `setup.py` changes them for PyPI, as `make test-dist` checks."""
    own = [link for link in links(PROJECTS[0]) if not link.startswith("https://")]
    assert len(own) > 5
    assert [link for link in own if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("path", PROJECTS[1:], ids=module_of)
def test_companions_readmes_name_pages_that_are_there_and_link_to_none(path: Path) -> None:
    """PyPI shows them without the repository around them."""
    text = (path.parent / "README.md").read_text(encoding="utf-8")
    pages = re.findall(r"`(docs/[^`]+)`", text)
    assert pages
    assert [page for page in pages if not (ROOT / page).exists()] == []
    assert [link for link in links(path) if not link.startswith("https://")] == []

"""Where the extra `local` is not installed, the tests that run a model are left out; the others need no torch."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from pathlib import Path

import pytest

from la_agents.errors import ConfigurationError
from la_agents.models.local_extra import PACKAGES, require_local

_ABSENT = {*PACKAGES, "PIL", "lm_eval", "matplotlib", "py3langid", "scipy", "vaderSentiment"}
"""Packages of the extras `local` and `evaluation`: who has no models does not measure them."""

_FOLDERS = ("tests/real", "tests/soak", "integrations/server/tests", "integrations/vllm/tests")
"""What is tried here needs the bundled model, whatever it imports."""

try:
    require_local()
except ConfigurationError:
    IS_LIGHT = True
else:
    IS_LIGHT = False


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the folders of models, and each file whose imports ask for one of the extras' packages."""
    place = collection_path.relative_to(config.rootpath)
    if IS_LIGHT and any(each.as_posix() in _FOLDERS for each in (place, *place.parents)):
        return True
    if not (IS_LIGHT and place.match("test_*.py")):
        return None
    is_package = (collection_path.parent / "__init__.py").exists()
    try:
        importlib.import_module(".".join(place.with_suffix("").parts) if is_package else place.stem)
    except ModuleNotFoundError as error:
        return error.name in _ABSENT or None
    return None


def _is_for_an_extra(error: Exception) -> bool:
    if isinstance(error, ModuleNotFoundError):
        return error.name in _ABSENT
    return "la-agents[local]" in str(error) or "la-agents[evaluation]" in str(error)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Skip a test whose fixtures ask for a model."""
    yield from _skipping()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Skip a test that asks for a model halfway."""
    yield from _skipping()


def _skipping() -> Generator[None, None, None]:
    try:
        yield
    except (ModuleNotFoundError, ConfigurationError) as error:
        if IS_LIGHT and _is_for_an_extra(error):
            pytest.skip(f"needs an extra: {error}")
        raise

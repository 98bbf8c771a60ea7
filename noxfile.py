"""The parts that need no torch, on the Pythons beside the one that `make test` runs on: `make test-pythons`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import nox

nox.options.error_on_missing_interpreters = False  # an absent one is named, and left out

if shutil.which("pyenv"):  # its commands answer only for the versions that are switched on
    done = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=True)
    os.environ["PYENV_VERSION"] = ":".join(reversed(done.stdout.split()))


@nox.session(python=["3.10", "3.12", "3.13"])
def light(session: nox.Session) -> None:
    """Without the extra `local`; what imports it is left out (see conftest.py)."""
    install = ("-q", "-c", "constraints.txt")
    session.install(*install, "-e", ".[test]", "-e", "integrations/langgraph[test]")
    session.run("la-agents", "setup")
    session.run("python", "-m", "pytest", "-q", *session.posargs)


@nox.session(python="3.10")
def light_oldest(session: nox.Session) -> None:
    """The same on the oldest versions that pyproject.toml allows without the extra `local`."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    allowed = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    session.install("-q", *(re.split("[,;]", each)[0].strip().replace(">=", "==") for each in allowed))
    session.install("-q", "-e", ".[test]", "-e", "integrations/langgraph[test]")
    session.run("la-agents", "setup")
    session.run("python", "-m", "pytest", "-q", *session.posargs)

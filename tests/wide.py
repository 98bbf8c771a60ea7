"""`make test-wide`: the property tests on new random examples, pass after pass, for ten minutes.

What a pass finds is printed with the pass's seed, which repeats it; it belongs into its test as an `@example`.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time

MINUTES = 10.0


def main(minutes: float = MINUTES) -> int:
    """Return pytest's status of the first pass that fails, else 0; a pass that the time cuts off has not failed."""
    end = time.monotonic() + 60 * minutes
    num_passes = 0
    while (left := end - time.monotonic()) > 0:
        seed = secrets.randbelow(2**32)
        options = ["-m", "hypothesis", "--hypothesis-profile=wide", f"--hypothesis-seed={seed}", "-q", "-x"]
        print(f"Pass {num_passes + 1}: pytest {' '.join(options)}", flush=True)
        try:
            status = subprocess.run([sys.executable, "-m", "pytest", *options], timeout=left, check=False).returncode
        except subprocess.TimeoutExpired:
            break
        if status:
            return status
        num_passes += 1
    print(f"{num_passes} passes in {minutes:g} minutes, nothing found.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))

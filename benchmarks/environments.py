"""An environment for each engine that is not ours: made by pip once, kept in SEDANO_TEST_CACHE."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from pathlib import Path


def environment(*requirements: str) -> Path:
    """The Python of an environment with just these; made now when it is not there. pip's words show when it fails."""
    cache = Path(os.environ.get("SEDANO_TEST_CACHE") or Path.home() / ".cache" / "sedano-tests")
    words = "-".join(requirements)
    folder = cache / ("bench-" + "".join(letter if letter.isalnum() else "-" for letter in words))
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted attempt left
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements], check=True)
        (folder / "complete").touch()
    return python


def versions(python: Path, *packages: str) -> dict[str, str]:
    """Which versions of `packages` are installed there."""
    code = "import sys, importlib.metadata as m; print(*(m.version(name) for name in sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *packages], check=True, capture_output=True, text=True)
    return dict(zip(packages, done.stdout.split(), strict=True))

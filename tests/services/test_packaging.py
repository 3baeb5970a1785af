"""What an installation brings: pure Python, the alias's line beside the package, no optional client."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_importing_sedano_imports_no_optional_client_and_no_driver():
    program = (
        "import sys, sedano\n"
        "heavy = {'redis', 'sqlite3', 'click', 'rich', 'asyncio', 'kombu', 'celery', 'hiredis'}\n"
        "print(sorted(heavy & set(sys.modules)), [name for name in sys.modules if name.startswith('sedano.drivers.')])"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SEDANO_")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"


@pytest.mark.long
def test_pip_install_compiles_nothing_and_brings_the_command_and_the_alias(tmp_path: Path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, str(ROOT)], check=True, timeout=280)
    (wheel,) = tmp_path.glob("sedano-*-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.endswith((".so", ".c", ".pyd"))]
    assert "sedano_as_celery.pth" in names
    assert "sedano/py.typed" in names
    assert [name for name in names if name.endswith(".lua")]
    assert [name for name in names if name.endswith(".sql")]
    assert [name for name in names if name.endswith("README.md.tpl")]
    # With a compiler that fails, everything must come as wheels.
    environment = {**os.environ, "CC": "/bin/false", "CXX": "/bin/false"}
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], env=environment, check=True, timeout=280)
    command = tmp_path / "venv" / "bin" / "sedano"
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert "(sedano)" in shown.stdout
    aliased = subprocess.run(
        [python, "-c", "import celery; print(celery.Celery.__module__)"],
        env={**os.environ, "SEDANO_AS_CELERY": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert aliased.stdout.startswith("sedano.")

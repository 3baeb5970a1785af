"""The Python in which examples and new projects run: this checkout, the clients and frameworks that they name; no Celery."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.interop.environments import ROOT, EnvironmentFailed, Recipe, make
from tests.servers import is_left_out

FRAMEWORKS = ("fastapi", "uvicorn", "httpx", "flask", "django", "pytest")
JOURNEYS = Recipe(
    "journeys",
    (
        ("msgspec", "click", "rich", "redis[hiredis]>=5.0", "eventlet==0.36.1", *FRAMEWORKS),
        ("--no-deps", "-e", str(ROOT)),
    ),
    made_of=(ROOT / "pyproject.toml", ROOT / "hatch_build.py"),
)


def commands_folder() -> Path:
    """Where `sedano`, `python` and `uvicorn` are, made if they are not there yet. Skips where frameworks are left out."""
    if is_left_out("frameworks"):
        pytest.skip("SEDANO_WITHOUT names frameworks")
    try:
        return make(JOURNEYS).parent
    except EnvironmentFailed as failed:
        pytest.fail(f"{failed}\nSet SEDANO_WITHOUT=frameworks to leave these tests out.", pytrace=False)

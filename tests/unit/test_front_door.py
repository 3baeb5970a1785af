"""What `import sedano` gives, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sedano

NOT_LOADED = (
    "asyncio", "click", "rich", "redis", "hiredis", "sqlite3", "socket", "multiprocessing", "concurrent.futures",
    "sedano.drivers.redis", "sedano.drivers.sqlite", "sedano.drivers.memory", "sedano.worker", "sedano.cli", "sedano.testing",
)  # fmt: skip


def test_given_the_front_door_then_all_names_are_there_and_listed() -> None:
    for name in sedano.__all__:
        assert getattr(sedano, name) is not None or name == "current_task"
    public = {name for name, value in vars(sedano).items() if not name.startswith("_") and type(value).__name__ != "module"}
    assert public - {"annotations"} <= set(sedano.__all__)
    assert sedano.__all__ == sorted(sedano.__all__)


@pytest.mark.parametrize("after", ["", "app = sedano.Celery('x'); app.task(lambda: 1)"])
def test_given_a_plain_import_then_no_driver_no_client_and_nothing_slow_is_loaded(after: str) -> None:
    code = f"import sys, sedano\n{after}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded & set(NOT_LOADED) == set()

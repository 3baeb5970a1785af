"""What `import sedano` gives, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sedano

NOT_LOADED = (
    "asyncio", "click", "rich", "redis", "hiredis", "sqlite3", "socket", "multiprocessing", "concurrent.futures",
    "sedano.drivers.redis", "sedano.drivers.sqlite", "sedano.drivers.memory", "sedano.worker", "sedano.cli", "sedano.testing",
    "dataclasses", "difflib", "pprint", "bz2", "lzma", "ssl", "hashlib", "tempfile", "shutil", "zoneinfo",
)  # fmt: skip

# What the package alone brings, before a name of it is used: it stands before the help, the completion and every probe.
BARE = {"sedano", "sedano.version"}

# What a plain import may take from elsewhere. This list may only shrink: what errors, time zones, retries or compression
# need is imported when they come. What these bring along is theirs, and differs from Python to Python.
FOREIGN = (
    "base64", "codecs", "collections.abc", "contextlib", "contextvars", "copy", "datetime", "decimal", "enum", "functools",
    "importlib.util", "itertools", "json", "logging", "math", "msgspec", "numbers", "os", "pathlib", "re", "sys",
    "threading", "time", "traceback", "types", "typing", "urllib.parse", "uuid", "warnings", "weakref",
)  # fmt: skip
OWN = 143
"""Modules of our own: 118 when this was counted first, 134 with fail-over and workflows, 141 with RabbitMQ. Each takes about a
quarter of a millisecond of every process's start."""


def test_given_the_front_door_then_all_names_are_there_and_listed() -> None:
    for name in sedano.__all__:
        assert getattr(sedano, name) is not None or name == "current_task"
    public = {name for name, value in vars(sedano).items() if not name.startswith("_") and type(value).__name__ != "module"}
    assert public - {"annotations", "TYPE_CHECKING"} <= set(sedano.__all__)
    assert sedano.__all__ == sorted(sedano.__all__)


def test_given_the_package_alone_then_nothing_of_it_is_loaded_until_a_name_is_used() -> None:
    code = "import sys, sedano; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name for name in done.stdout.split() if name.partition(".")[0] in ("sedano", "msgspec")} == BARE


def test_given_any_public_name_used_first_then_it_is_the_object_of_its_module_and_all_the_others_are_there() -> None:
    for name in sedano.__all__:
        code = f"import sedano; from sedano import {name}; assert sedano.{name} is {name}; print(*vars(sedano))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        if name != "__version__":
            assert set(sedano.__all__) <= set(done.stdout.split())


def test_given_the_rooms_then_they_are_attributes_and_what_is_none_is_refused() -> None:
    rooms = (
        "app canvas clock contracts crashpoints current exceptions log nearest protocol result rules settings signals states"
    )
    code = f"import sedano\nfor name in {rooms!r}.split(): assert getattr(sedano, name).__name__ == 'sedano.' + name"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(sedano.__all__) <= set(dir(sedano))
    with pytest.raises(AttributeError, match="no attribute 'Celry'"):
        _ = sedano.Celry


@pytest.mark.parametrize("after", ["", "app = sedano.Celery('x'); app.task(lambda: 1)"])
def test_given_a_plain_import_then_no_driver_no_client_and_nothing_slow_is_loaded(after: str) -> None:
    code = f"import sys, sedano\n{after}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded & set(NOT_LOADED) == set()


AN_APP = "app = sedano.Celery('x', broker='redis://localhost/0')\n@app.task\ndef add(x, y=1): return x + y"


@pytest.mark.parametrize("after", ["", AN_APP])
def test_given_an_app_and_a_task_then_only_these_modules_are_loaded(after: str) -> None:
    code = (
        "import sys\n"
        "sys.modules['typing_extensions'] = None  # msgspec takes it where it is installed, and it takes much else\n"
        f"import {', '.join(FOREIGN)}\n"
        "foreign = set(sys.modules)\n"
        f"import sedano\n{after}\n"
        "print(*sorted(set(sys.modules) - foreign))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert [name for name in loaded if name.partition(".")[0] != "sedano"] == []
    assert len(loaded) <= OWN

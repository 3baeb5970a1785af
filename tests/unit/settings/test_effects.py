"""Every setting that the table calls working has a test that sees its effect.

A test says which settings' effect it sees with a mark, on the function, in `pytestmark`, or on a parameter:

    @pytest.mark.setting("task_acks_late", "task_reject_on_worker_lost")
    def test_given_...

Nothing else is needed: the marks are found by reading the files under tests/. A setting without effect has no test, but a
row that says why.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from sedano.settings import OPTIONS

TESTS = Path(__file__).parents[2]


def marks(path: Path) -> Iterator[tuple[str, str]]:
    """(setting, test id) of every `pytest.mark.setting(...)` in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    holders = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.setting":
            holder = next((held.name for held in holders if node in ast.walk(held)), "")
            for argument in node.args:
                assert isinstance(argument, ast.Constant), f"{path}:{node.lineno}: name the settings as text"
                yield str(argument.value), f"{path.relative_to(TESTS.parent)}::{holder}"


@functools.cache
def effects() -> dict[str, list[str]]:
    """Setting -> the tests that see its effect."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for setting, test in marks(path):
            found.setdefault(setting, []).append(test)
    return found


def test_given_a_mark_when_it_names_a_setting_then_there_is_one_and_the_table_says_that_it_works() -> None:
    wrong = {name: tests for name, tests in effects().items() if name not in OPTIONS or not OPTIONS[name].works}

    assert not wrong, f"no such setting, or its row still says that it has no effect: {wrong}"


def test_given_a_working_setting_when_its_tests_are_looked_for_then_there_is_one_that_sees_its_effect() -> None:
    missing = sorted({name for name, option in OPTIONS.items() if option.works} - effects().keys())

    assert not missing, (
        f"mark a test with @pytest.mark.setting(...) that sees the effect of: {missing}, or say in its row why it has none"
    )

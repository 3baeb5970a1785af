"""The READMEs of the examples, and how the tests read them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.interop.environments import ROOT
from tests.journeys import test_examples
from tests.journeys.readme import Line, lines_of

EXAMPLES = ROOT / "examples"
PROJECTS = sorted(path.parent for path in EXAMPLES.glob("*/README.md"))


def test_given_a_page_when_it_is_read_then_each_command_has_what_is_shown_below_it(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("Text\n\n```console\n$ one\nfirst\nsecond\n$ sedano -A x worker\n```\n\n```python\n$ no\n```\n")
    assert lines_of(page) == [Line("one", "first\nsecond"), Line("sedano -A x worker")]
    assert [line.stays for line in lines_of(page)] == [False, True]


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        ("5", "5\n", True),
        ("5", "15", False),
        ("", "5", False),
        ("a …!", "a b\nc!", True),
        ("a.c", "abc", False),
        ("…", "", True),
    ],
)
def test_given_what_a_page_shows_when_compared_then_only_dots_stand_for_anything(shown: str, output: str, same: bool) -> None:
    assert Line("command", shown).is_shown(output) is same


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_given_an_example_then_it_is_followed_by_a_test_and_listed_and_points_to_the_chinese_page(project: Path) -> None:
    assert f'"{project.name}")' in Path(test_examples.__file__).read_text(encoding="utf-8")
    assert f"]({project.name}/)" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
    readme = (project / "README.md").read_text(encoding="utf-8")
    assert "[中文说明见 README.zh.md](../../README.zh.md)" in readme
    assert lines_of(project / "README.md")
    assert all(len(line) <= 180 for line in readme.splitlines())

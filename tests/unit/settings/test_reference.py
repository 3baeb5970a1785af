from __future__ import annotations

from pathlib import Path

import pytest

from sedano.settings import OPTIONS
from sedano.settings.reference import main, page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"


def test_given_the_table_when_the_page_is_checked_then_it_is_current() -> None:
    assert main(["--check", str(PAGE)]) == 0, "run: python -m sedano.settings.reference docs/reference/settings.md"


def test_given_the_page_when_read_then_every_setting_has_one_row_of_six_cells() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]

    assert sorted(row.split("`")[1] for row in rows) == sorted(OPTIONS)
    assert {row.replace("\\|", "").count("|") for row in rows} == {7}


def test_given_another_page_when_checked_then_the_exit_code_says_so_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sub" / "settings.md"
    assert main(["--check", str(path)]) == 1
    assert not path.exists()
    assert main([str(path)]) == 0
    assert main(["--check", str(path)]) == 0
    path.write_text("older")
    assert main(["--check", str(path)]) == 1
    assert main([]) == 64
    assert "is not what the table gives" in capsys.readouterr().err

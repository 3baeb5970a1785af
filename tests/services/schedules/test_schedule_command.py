"""`sedano schedule`: what it prints, and what it refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.services.schedules.commands import Said, run_all

PROJECT = """
from sedano import Celery
from sedano.schedules import crontab

app = Celery("proj", timezone="Europe/Berlin")

@app.task
def add(x, y=0):
    return x + y

app.conf.beat_schedule = {"code": {"task": "proj.add", "schedule": 60.0, "args": [1]}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "proj.py").write_text(PROJECT)
    return tmp_path


def run(project: Path, *lines: str) -> list[Said]:
    return run_all(project, [["-A", "proj", "schedule", *line.split("|")] for line in lines])


def test_every_command_prints_one_json_document(project: Path) -> None:
    made = ["create|a|proj.add|--every|60|-a|[1]|-j", "create|b|proj.add|--cron|0 2 * * *|--tz|Europe/Berlin|-a|[1]|-j"]
    rest = ["update|a|--priority|3|--max-runs|5|-j", "pause|a|-j", "resume|a|-j", "run|a|-j", "show|a|-j", "list|-j"]
    looks = ["next|b|-n|2|-j", "history|a|-j", "history|-j", "diff|-j", "lint|-j", "delete|a|-j"]
    said = run(project, *made, *rest, *looks)
    assert [each.err for each in said if each.code and not each.out] == []
    documents = dict(zip([*made, *rest, *looks], (json.loads(each.out) for each in said), strict=True))
    assert documents[rest[0]]["options"] == {"priority": 3}
    assert documents[rest[0]]["policies"] == {"max_runs": 5}
    assert (documents[rest[1]]["state"], documents[rest[2]]["state"]) == ("paused", "active")
    assert [entry["name"] for entry in documents[rest[5]]] == ["a", "b"]
    assert len(documents[looks[0]]) == 2
    assert documents[looks[1]][0]["manual"] is True
    assert documents[looks[3]]["new"] == ["code"]
    assert [(finding["kind"], *finding["names"]) for finding in documents[looks[4]]] == [("missing", "b")]
    assert [each.code for each in said] == [0] * 11 + [1, 1, 0]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("create|a|proj.add", "say when"),
        ("create|a|proj.add|--every|5|--cron|* * * * *", "one schedule at a time"),
        ("create|a|proj.add|--every|0|-a|[1]", "longer than nothing"),
        ("create|a|proj.add|--cron|99 * * * *|-a|[1]", "99"),
        ("create|a|proj.add|--cron|0 2 30 2 *|-a|[1]", "never occurs"),
        ("create|a|proj.add|--cron|* * * * *|--tz|Europe/Berln|-a|[1]", "Europe/Berlin"),
        ("create|a|proj.add|--every|5|-a|[1, 2, 3]", "add"),
        ("create|a|proj.add|--sun|sunrise", "EVENT,LATITUDE,LONGITUDE"),
        ("update|nobody|--every|5", "no schedule entry 'nobody'"),
        ("update|nobody", "say what is to change"),
        ("history|nobody", "no schedule entry 'nobody'"),
        ("delete|nobody", "no schedule entry 'nobody'"),
    ],
)
def test_what_cannot_be_is_one_line(project: Path, line: str, says: str) -> None:
    (said,) = run(project, line)
    assert said.code in (1, 2)
    assert says in said.err
    assert "Traceback" not in said.err


def test_diff_shows_what_the_next_beat_changes(project: Path) -> None:
    (said,) = run(project, "diff")
    assert (said.code, said.out.splitlines()) == (1, ["+ code"])

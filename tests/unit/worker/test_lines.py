"""The log lines that people and their tools search for, as Celery 5.7 writes them (seen by running it)."""

from __future__ import annotations

import logging

import pytest

from sedano.exceptions import Reject, Retry
from sedano.worker import lines


@pytest.fixture(autouse=True)
def _hear_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def test_received(caplog: pytest.LogCaptureFixture) -> None:
    lines.received(task_id="id1", name="proj.add", args="(2, 3)", kwargs="{}", eta=None)

    (record,) = caplog.records
    assert record.getMessage() == "Task proj.add[id1] received"
    assert (record.name, record.levelname, record.processName) == ("celery.worker.strategy", "INFO", "MainProcess")
    assert vars(record)["data"] == {"id": "id1", "name": "proj.add", "args": "(2, 3)", "kwargs": "{}", "eta": None}


def test_given_a_name_with_line_ends_when_a_line_is_written_then_it_stays_one_line(caplog: pytest.LogCaptureFixture) -> None:
    lines.received(task_id="id1\n[CRITICAL] all is lost", name="Grüße\x1b[2J", args="", kwargs="", eta=None)

    (record,) = caplog.records
    assert record.getMessage() == "Task Grüße\\x1b[2J[id1\\n[CRITICAL] all is lost] received"


def test_succeeded(caplog: pytest.LogCaptureFixture) -> None:
    lines.succeeded(task_id="id1", name="proj.add", return_value="5", runtime=0.25, args="(2, 3)", kwargs="{}")

    (record,) = caplog.records
    assert record.getMessage() == "Task proj.add[id1] succeeded in 0.25s: 5"
    assert (record.name, record.levelname) == ("celery.app.trace", "INFO")
    assert vars(record)["data"]["runtime"] == 0.25


def test_raised_unexpected_has_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("boom", 42)
    except ValueError as exc:
        lines.failed(
            task_id="id1", name="proj.fail", hostname="w1@h", exc=exc, text=repr(exc), traceback="tb", args="()", kwargs="{}",
            expected=False,
        )  # fmt: skip

    (record,) = caplog.records
    assert record.getMessage() == "Task proj.fail[id1] raised unexpected: ValueError('boom', 42)"
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    assert "ValueError: ('boom', 42)" in caplog.text
    assert vars(record)["data"].keys() == {
        "hostname", "id", "name", "exc", "traceback", "args", "kwargs", "description", "internal"
    }  # fmt: skip


def test_raised_expected_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    lines.failed(
        task_id="id1", name="proj.fail", hostname="w1@h", exc=KeyError("k"), text="KeyError('k')", traceback="tb", args="()",
        kwargs="{}", expected=True,
    )  # fmt: skip

    (record,) = caplog.records
    assert record.getMessage() == "Task proj.fail[id1] raised expected: KeyError('k')"
    assert (record.levelname, record.exc_info) == ("INFO", None)


def test_retry_ignored_reject(caplog: pytest.LogCaptureFixture) -> None:
    reject = Reject("busy", requeue=True)
    lines.retried(task_id="id1", name="t", reason=Retry(exc=KeyError("k"), when=3))
    lines.ignored(task_id="id2", name="t")
    lines.rejected(task_id="id3", name="t", exc=reject, text=repr(reject))

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "Task t[id1] retry: Retry in 3s: KeyError('k')"),
        ("INFO", "Task t[id2] ignored"),
        ("WARNING", "Task t[id3] reject requeue=True: busy"),
    ]


def test_discarded_limits_and_acceptance(caplog: pytest.LogCaptureFixture) -> None:
    lines.discarded(task_id="id1", name="t")
    lines.soft_limit(task_id="id2", name="t", seconds=1)
    lines.hard_limit(task_id="id3", name="t", seconds=2.0)
    lines.accepted(task_id="id4", name="t", pid=77)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "Discarding revoked task: t[id1]"),
        ("WARNING", "Soft time limit (1s) exceeded for t[id2]"),
        ("ERROR", "Hard time limit (2s) exceeded for t[id3]"),
        ("DEBUG", "Task accepted: t[id4] pid:77"),
    ]
    assert {record.processName for record in caplog.records} == {"MainProcess"}


def test_unregistered_task(caplog: pytest.LogCaptureFixture) -> None:
    lines.unknown(name="proj.gone", body="b'[]' (2b)", headers={"id": "id1"}, delivery_info={"routing_key": "celery"})

    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith("Received unregistered task of type 'proj.gone'.\nThe message has been ignored")
    assert "The full contents of the message headers:\n{'id': 'id1'}\n" in record.getMessage()


def test_given_nobody_hears_info_then_no_record_is_made(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.WARNING, logger="celery")

    lines.received(task_id="id1", name="t", args="", kwargs="", eta=None)

    assert not lines.wants_success()
    assert caplog.records == []

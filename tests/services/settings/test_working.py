"""How a worker goes about its work: settings that a worker in this process shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.apps import sent as taken_from
from tests.services.settings.apps import PATIENCE_S, Apps, dead_letters, task

from sedano import group
from sedano.contracts import Begin, Outgoing
from sedano.protocol.call import build

# -- what it runs ----------------------------------------------------------------------------------------------------------

MODULE = """
from sedano import group, shared_task

@shared_task(name="{name}")
def run():
    return "{name}"
"""


@pytest.mark.setting("imports", "include")
@pytest.mark.parametrize(("setting", "as_list"), [("imports", False), ("imports", True), ("include", False), ("include", True)])
def test_given_modules_when_a_worker_starts_then_it_runs_the_tasks_in_them(
    apps: Apps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, as_list: bool
) -> None:
    name = f"{setting}_{as_list}".lower()
    (tmp_path / f"jobs_{name}.py").write_text(MODULE.format(name=name))
    monkeypatch.chdir(tmp_path)
    app = apps.make(**{setting: [f"jobs_{name}"] if as_list else f"jobs_{name}"})

    apps.working(app)

    assert app.send_task(name).get(timeout=PATIENCE_S) == name


@pytest.mark.setting("worker_deduplicate_successful_tasks")
@pytest.mark.parametrize(("skips", "runs"), [(True, ["one", "two"]), (False, ["one", "one", "two"])])
def test_given_a_late_call_that_was_successful_when_it_comes_again_then_it_is_skipped_if_asked_for(
    apps: Apps, skips: bool, runs: list[str]
) -> None:
    app = apps.make(worker_deduplicate_successful_tasks=skips, task_acks_late=True)
    ran: list[str] = []

    @task(app, name="t", bind=True)
    def t(self: Any) -> None:
        ran.append(self.request.id)

    apps.working(app)
    t.apply_async(task_id="one").get(timeout=PATIENCE_S)
    apps.broker(app).publish([Outgoing(build("t", "one", routing_key="celery", headers={"redelivered": True}), "celery")])
    t.apply_async(task_id="two").get(timeout=PATIENCE_S)

    assert ran == runs


# -- how much it holds and begins ------------------------------------------------------------------------------------------


def most_held(apps: Apps, *, calls: int = 150, slow: int = -1, **settings: Any) -> dict[str, int]:
    """The most that a slot had begun, and held in all, while it ran quick calls; how many calls waited behind the slow one
    in the slot when that ended."""
    app = apps.make(**settings)
    seen = {"begun": 0, "held": 0, "behind the slow one": 0}

    @task(app, name="t")
    def t(number: int) -> None:
        if number == slow:
            time.sleep(0.3)
        with closing(app.stores.open_broker()) as broker:
            depth = broker.depth(["celery"])[0]
        seen["begun"] = max(seen["begun"], depth.begun)
        seen["held"] = max(seen["held"], depth.begun + depth.reserved)
        if number == slow:
            seen["behind the slow one"] = calls - slow - 1 - depth.ready

    results = [t.delay(number) for number in range(calls)]
    apps.working(app)
    for result in results:
        result.get(timeout=PATIENCE_S)
    return seen


@pytest.mark.setting("worker_prefetch_multiplier", "worker_disable_prefetch")
@pytest.mark.parametrize(
    ("settings", "fits"),
    [
        ({}, lambda held: held > 4),
        ({"worker_prefetch_multiplier": 0}, lambda held: held > 4),
        ({"worker_prefetch_multiplier": 4}, lambda held: 1 < held <= 4),
        ({"worker_prefetch_multiplier": "1"}, lambda held: held == 1),
        ({"worker_disable_prefetch": True}, lambda held: held == 1),
        ({"worker_disable_prefetch": "false"}, lambda held: held > 4),
    ],
    ids=["unset", "zero", "four", "text-one", "disabled", "disabled-by-text-false"],
)
def test_given_a_limit_when_a_slot_runs_quick_calls_then_it_never_holds_more(
    apps: Apps, settings: dict[str, Any], fits: Callable[[int], bool]
) -> None:
    assert fits(held := most_held(apps, **settings)["held"]), held


@pytest.mark.setting("worker_window_time")
@pytest.mark.parametrize(("seconds", "several"), [(0, False), (0.02, True)])
def test_given_a_window_of_no_time_when_a_slot_runs_quick_calls_then_it_begins_one_by_one(
    apps: Apps, seconds: float, several: bool
) -> None:
    assert (most_held(apps, worker_window_time=seconds)["begun"] > 1) is several


@pytest.mark.setting("worker_long_task_time")
@pytest.mark.parametrize(("seconds", "keeps"), [(0.05, False), (60, True)])
def test_given_a_call_that_turns_out_slow_when_it_lasts_so_long_then_what_waits_behind_it_is_given_back(
    apps: Apps, seconds: float, keeps: bool
) -> None:
    seen = most_held(apps, slow=100, worker_long_task_time=seconds)

    assert (seen["behind the slow one"] > 0) is keeps


# -- whom it hears ---------------------------------------------------------------------------------------------------------


@pytest.mark.setting("worker_enable_remote_control")
@pytest.mark.parametrize(("given", "answers"), [(True, 1), (False, 0), ("off", 0)])
def test_given_remote_control_on_or_off_when_a_worker_is_asked_then_it_answers_or_not(
    apps: Apps, given: Any, answers: int
) -> None:
    app = apps.make(worker_enable_remote_control=given)
    apps.working(app)

    assert len(app.control.ping(timeout=0.3, limit=1)) == answers


@pytest.mark.setting("control_exchange")
def test_given_a_mailbox_of_its_own_when_workers_are_asked_then_those_of_other_mailboxes_do_not_hear_it(apps: Apps) -> None:
    app = apps.make(control_exchange="ours")
    apps.working(app)

    assert len(app.control.ping(timeout=PATIENCE_S, limit=1)) == 1
    assert apps.twin(app).control.ping(timeout=0.2) == []


# -- what becomes of lost and failed calls ---------------------------------------------------------------------------------


@pytest.mark.setting("worker_lease_time")
def test_given_a_short_lease_when_another_worker_is_gone_then_its_call_is_soon_taken_over(apps: Apps) -> None:
    app = apps.make(worker_lease_time=0.5)
    t = task(app, name="t", acks_late=True)(lambda: 5)
    result = t.delay()
    broker = apps.broker(app)
    gone = broker.register("gone", "gone@test")
    taken = broker.turn(gone, reserve=1, queues=["celery"]).reserved[0]
    broker.turn(gone, begin=[Begin(taken.tag, early=False)])

    apps.working(app)

    assert result.get(timeout=PATIENCE_S) == 5  # with the default lease it would take twice as long


def fail(size: int = 0) -> None:
    raise KeyError("gone")


@pytest.mark.setting("task_dead_retention")
@pytest.mark.parametrize(("seconds", "kept"), [(0, 0), (0.0001, 0), (60, 1), (None, 1)])
def test_given_a_retention_when_a_call_fails_then_its_message_is_kept_that_long(
    apps: Apps, seconds: float | None, kept: int
) -> None:
    app = apps.make(task_dead_retention=seconds)
    apps.working(app)

    task(app, name="t")(fail).delay().get(timeout=PATIENCE_S, propagate=False)

    letters = dead_letters(app)
    assert len(letters) == kept
    assert all(letter.note.keep_s > 50 for letter in letters)


@pytest.mark.setting("task_dead_max_bytes")
@pytest.mark.parametrize(("most", "kept"), [(7000, 2), (0, 1), (None, 4)])
def test_given_room_for_dead_letters_when_it_is_full_then_the_oldest_go(apps: Apps, most: int | None, kept: int) -> None:
    app = apps.make(task_dead_max_bytes=most)
    apps.working(app)
    t = task(app, name="t")(fail)

    for number in range(4):
        t.apply_async(["x" * 1000], task_id=f"id{number}").get(timeout=PATIENCE_S, propagate=False)

    assert [letter.note.task_id for letter in dead_letters(app)] == [f"id{number}" for number in (3, 2, 1, 0)][:kept]


@pytest.mark.setting("task_workflow_max_bytes")
@pytest.mark.parametrize(("most", "kept"), [(0, 0), (150, 1), (10_000, 3)])
def test_given_room_for_records_of_workflows_when_it_is_full_then_the_oldest_go(apps: Apps, most: int, kept: int) -> None:
    app = apps.make(task_workflow_max_bytes=most)
    t = task(app, name="t")(lambda value: value)

    sent = [group(t.s(number), t.s(number)).apply_async().id for number in range(3)]

    assert [one.id for one in app.workflows.recent()] == sent[::-1][:kept]
    headers = [delivery.message.headers for delivery in taken_from(app) if delivery.message is not None]
    assert [header.get("x-sedano-workflow") for header in headers] == [id_ if most else None for id_ in sent for _ in range(2)]

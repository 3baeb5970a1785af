"""Workflows are looked at while a worker runs them, and cancelled in each position: what is shown, what runs, what is said."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from typing import Any

import pytest
from tests.apps import MakeApp
from tests.services.canvas.conftest import World
from tests.services.canvas.test_errors import PATIENCE_S, until

from sedano import chain, chord, group, states
from sedano.exceptions import TaskRevokedError, WorkflowNotFound
from sedano.testing.worker import start_worker


class Held(World):
    """With a task `hold` that runs until `gate` is set, and the names of what ran: `ran`."""

    gate: threading.Event
    holds: threading.Event
    ran: list[str]


@pytest.fixture
def held(urls: tuple[str, str], make_app: MakeApp) -> Generator[Held]:
    app = make_app(broker=urls[0], backend=urls[1])
    world = Held(app=app, heard=[], gate=threading.Event(), holds=threading.Event(), ran=[])

    def task(**options: Any) -> Any:
        return lambda function: app.task(name=f"proj.{function.__name__}", **options)(function)

    @task()
    def step(value: Any = None, name: str = "step") -> Any:
        world.ran.append(name)
        return value

    @task(typing=False)
    def fail(*args: Any) -> None:
        raise LookupError("no")

    @task(bind=True, typing=False)
    def hold(self: Any, *args: Any, ends: str = "") -> Any:
        world.holds.set()
        world.gate.wait(PATIENCE_S)
        if ends == "retry":
            raise self.retry(countdown=3600)
        if ends == "fail":
            raise LookupError("no")
        if ends == "replace":
            raise self.replace(step.s(1, name="replaced"))
        if ends == "send":
            step.delay(1, name="sent by hold")
            return "sent"
        return "held"

    yield world
    world.gate.set()


@contextlib.contextmanager
def working(held: Held) -> Generator[None]:
    with start_worker(held.app):
        try:
            yield
        finally:
            held.gate.set()


def shown(held: Held, result: Any) -> str:
    return held.app.workflows.show(result.id)


def state_of(held: Held, result: Any) -> str:
    return held.app.workflows.get(result.id).summary.state


def refused(*results: Any) -> None:
    for result in results:
        with pytest.raises(TaskRevokedError):
            result.get(timeout=PATIENCE_S)
        assert result.state == states.REVOKED


class TestLooking:
    def test_given_a_workflow_when_it_waits_runs_and_is_done_then_each_is_shown(self, held: Held) -> None:
        result = (held.step.s(1) | group(held.step.s(), held.hold.s()) | held.step.s(name="body") | held.step.s()).delay()
        assert "1. proj.step" in shown(held, result)
        assert shown(held, result).count("queued in celery") == 1
        assert state_of(held, result) == "waiting"
        with working(held):
            assert held.holds.wait(PATIENCE_S)
            until(lambda: held.app.workflows.get(result.id).summary.done == 2)
            text = shown(held, result)
            assert f"{result.parent.parent[1].id} running on test@embedded" in text
            assert f"waits for 1 of 2 header tasks: {result.parent.parent[1].id}" in text
            assert f"{result.id} waits for step 2" in text
            assert [one.summary.state for one in held.app.workflows.recent()] == ["running"]
            held.gate.set()
            result.get(timeout=PATIENCE_S)
            until(lambda: state_of(held, result) == "done")
        for part in (result, result.parent, result.parent.parent, result.parent.parent[0]):
            assert held.app.workflows.get(part.id).id == result.id
        assert held.app.workflows.recent(state=["running"]) == []

    def test_given_a_workflow_that_fails_retries_is_delayed_and_parked_then_it_is_shown(self, held: Held) -> None:
        held.gate.set()
        unknown = held.app.signature("proj.unknown")
        workflow = group(
            chain(held.fail.s(), held.step.s()), held.hold.s(ends="retry"), held.step.s(1).set(countdown=3600), unknown
        )
        result = workflow.delay()
        with working(held):
            until(lambda: held.app.AsyncResult(result[1].id).state == states.RETRY)
            until(lambda: "parked until" in shown(held, result))
            until(lambda: "FAILURE" in shown(held, result))
            text = shown(held, result)
        assert "LookupError('no'); kept as a dead letter" in text
        assert f"{result[1].id} RETRY (delayed until" in text
        assert f"{result[2].id} delayed until" in text
        assert "knows its task" in text
        assert state_of(held, result) == "failed"

    def test_given_calls_that_keep_no_results_when_a_chord_counts_them_then_they_are_known_to_be_over(self, held: Held) -> None:
        quiet = held.step.s(1).set(ignore_result=True)
        result = chord([quiet, held.step.s(2), held.hold.s()], held.step.s()).delay()
        with working(held):
            assert held.holds.wait(PATIENCE_S)
            until(lambda: held.app.workflows.get(result.id).summary.done == 2)
            assert "waits for 1 of 3 header tasks" in shown(held, result)

    def test_given_what_a_call_sends_when_it_is_over_then_it_stands_below_it(self, held: Held) -> None:
        held.gate.set()
        linked = held.step.s(1)
        linked.link(held.step.s(name="callback"))
        result = (linked | held.hold.si(ends="send")).delay()
        with working(held):
            result.get(timeout=PATIENCE_S)
            until(lambda: shown(held, result).count("sent call") == 2)
            until(lambda: len(held.ran) == 3)
        assert [one.what for one in held.app.workflows.recent()] == ["chain of 2"]

    def test_given_a_workflow_without_a_record_when_shown_then_its_results_tell(self, held: Held) -> None:
        held.app.conf.task_workflow_max_bytes = 0
        result = (held.step.s(1) | held.step.s() | held.step.s()).delay()
        assert held.app.workflows.recent() == []
        with pytest.raises(WorkflowNotFound, match="neither a workflow nor a result"):
            held.app.workflows.show(result.id)
        with working(held):
            result.get(timeout=PATIENCE_S)
            until(lambda: shown(held, result).count("SUCCESS") == 3)
        assert "no record is kept" in shown(held, result)
        with pytest.raises(WorkflowNotFound, match="revoke"):
            held.app.workflows.cancel(result.id)

    def test_given_a_single_call_when_sent_then_nothing_is_recorded(self, held: Held) -> None:
        held.step.delay(1)
        chain(held.step.s(1)).delay()
        held.step.s(1).apply_async(link=held.step.s())
        assert held.app.workflows.recent() == []


class TestCancelling:
    def test_given_nothing_begun_when_cancelled_then_nothing_runs_and_all_is_revoked_at_once(self, held: Held) -> None:
        result = (held.step.s(1) | group(held.step.s(), held.step.s()) | held.step.s() | held.step.s()).delay()
        done = held.app.workflows.cancel(result.parent.parent[0].id)
        assert (len(done.revoked), done.running, done.over) == (5, [], 0)
        refused(result, result.parent, *result.parent.parent, result.parent.parent.parent)
        with working(held):
            held.step.delay(2, name="after").get(timeout=PATIENCE_S)
        assert held.ran == ["after"]
        refused(result, result.parent)
        assert state_of(held, result) == "cancelled"

    @pytest.mark.parametrize("ends", ["", "fail", "retry", "replace", "send"])
    def test_given_a_running_call_when_cancelled_then_nothing_comes_after_it_however_it_ends(
        self, held: Held, ends: str
    ) -> None:
        running = held.hold.s(ends=ends)
        running.link(held.step.s(name="callback"))
        result = (running | held.step.s(name="next")).delay()
        with working(held):
            assert held.holds.wait(PATIENCE_S)
            done = held.app.workflows.cancel(result.id)
            assert (done.revoked, done.running) == ([result.id], [result.parent.id])
            refused(result)
            held.gate.set()
            if ends in ("", "send"):
                assert result.parent.get(timeout=PATIENCE_S)
            else:
                with pytest.raises(LookupError if ends == "fail" else TaskRevokedError):
                    result.parent.get(timeout=PATIENCE_S)
            held.step.delay(2, name="after").get(timeout=PATIENCE_S)
        assert held.ran == ["after"]
        assert held.app.AsyncResult(result.id).state == states.REVOKED

    def test_given_a_header_under_way_when_cancelled_then_the_body_never_runs_and_is_revoked(self, held: Held) -> None:
        body = held.step.s(name="body")
        body.link_error(held.step.si(1, name="errback"))
        result = chord([held.step.s(1), held.hold.s(), held.step.s(2)], body).delay()
        with working(held):
            assert held.holds.wait(PATIENCE_S)
            held.app.workflows.cancel(result.id)
            refused(result)
            held.gate.set()
            assert result.parent[1].get(timeout=PATIENCE_S) == "held"
            refused(result.parent[2])
            held.step.delay(2, name="after").get(timeout=PATIENCE_S)
            refused(result)
        assert "body" not in held.ran
        assert "errback" not in held.ran

    def test_given_delayed_and_parked_parts_when_cancelled_then_get_ends_at_once(self, held: Held) -> None:
        held.gate.set()
        parts = [held.step.s(1).set(countdown=3600), held.app.signature("proj.unknown"), held.hold.s(ends="retry")]
        result = chord(parts, held.step.s()).delay()
        with working(held):
            until(lambda: held.app.AsyncResult(result.parent[2].id).state == states.RETRY)
            until(lambda: "parked until" in shown(held, result))
            until(lambda: f"{result.parent[0].id} delayed until" in shown(held, result))
            held.app.workflows.cancel(result.id)
            refused(result, *result.parent)

    def test_given_two_workflows_when_one_is_cancelled_then_the_other_goes_on(self, held: Held) -> None:
        one, other = (group(held.step.s(n), held.step.s(n)) | held.step.s() for n in (1, 2))
        cancelled, kept = one.delay(), other.delay()
        held.app.workflows.cancel(cancelled.id)
        with working(held):
            assert kept.get(timeout=PATIENCE_S) == [2, 2]
        assert len(held.ran) == 3
        refused(cancelled)

    def test_given_a_workflow_that_is_done_when_cancelled_then_its_results_stay(self, held: Held) -> None:
        result = (held.step.s(1) | held.step.s()).delay()
        with working(held):
            assert result.get(timeout=PATIENCE_S) == 1
        done = held.app.workflows.cancel(result.id)
        assert (done.revoked, done.running, done.over) == ([], [], 2)
        assert held.app.AsyncResult(result.id).state == states.SUCCESS

    def test_given_the_last_header_task_ends_while_it_is_cancelled_then_the_body_ran_whole_or_is_revoked(
        self, held: Held
    ) -> None:
        """Whichever comes first: nobody hangs, and what is said is what happened."""
        held.gate.set()
        with working(held):
            for number in range(6):
                result = chord([held.step.s(1), held.hold.s()], held.step.s(name=f"body {number}")).delay()
                racing = threading.Thread(target=held.app.workflows.cancel, args=(result.id,))
                racing.start()
                try:
                    result.get(timeout=PATIENCE_S)
                except TaskRevokedError:
                    racing.join(PATIENCE_S)
                    held.step.delay(0, name="after").get(timeout=PATIENCE_S)
                    if held.app.AsyncResult(result.id).state == states.REVOKED:
                        assert f"body {number}" not in held.ran
                else:
                    racing.join(PATIENCE_S)
                    assert f"body {number}" in held.ran

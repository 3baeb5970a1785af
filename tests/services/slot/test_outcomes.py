"""What a slot makes of calls: run, settled, kept, delayed, refused."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.services.slot.world import World

from sedano.contracts import Outgoing
from sedano.drivers import memory
from sedano.drivers.memory.store import put_raw
from sedano.exceptions import Ignore, Reject
from sedano.protocol.call import build
from sedano.protocol.message import Message
from sedano.testing import FakeClock
from sedano.worker.table import Phase

FAR = 4_000_000_000.0
FAR_TEXT = "2096-10-02T07:06:40+00:00"
PAST_TEXT = "2001-09-09T01:46:40+00:00"


@pytest.fixture(params=["memory", "sqlite"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param == "sqlite" else None


def test_given_a_call_when_it_succeeds_then_its_result_is_stored_and_nothing_is_left(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    @world.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    caplog.set_level(logging.INFO)
    slot = world.start()
    task_id = world.call("add", 2, 3)
    world.wait_for((task_id, "SUCCESS"))
    assert slot.stop() == 0

    record = world.record(task_id)
    assert (record["result"], record["children"], record["traceback"]) == (5, [], None)
    assert record["date_done"].endswith("+00:00")
    assert world.depth() == type(world.depth())("celery", 0)
    assert world.broker.leases() == []
    messages = [record.getMessage() for record in caplog.records]
    assert f"Task add[{task_id}] received" in messages
    assert any(line.startswith(f"Task add[{task_id}] succeeded in ") and line.endswith("s: 5") for line in messages)
    assert (slot.row.processed, slot.row.succeeded, slot.row.failed) == (1, 1, 0)


def test_given_a_call_when_it_raises_then_the_failure_is_stored_and_the_message_kept(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    @world.task(name="fail")
    def fail() -> None:
        raise ValueError("boom", 42)

    world.start()
    task_id = world.call("fail")
    world.wait_for((task_id, "FAILURE"))

    record = world.record(task_id)
    assert repr(record["result"]) == "ValueError('boom', 42)"
    assert record["traceback"].endswith("ValueError: ('boom', 42)\n")
    (letter,) = world.dead()
    assert (letter.note.cause, letter.note.task_id, letter.note.task) == ("failure", task_id, "fail")
    assert letter.note.detail == "ValueError('boom', 42)"
    assert f"Task fail[{task_id}] raised unexpected: ValueError('boom', 42)" in caplog.text


def test_given_a_retry_when_it_is_due_then_the_call_runs_again_under_its_id(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[int] = []

    @world.task(name="again", bind=True)
    def again(self: Any) -> str:
        attempts.append(self.request.retries)
        if not self.request.retries:
            raise self.retry(exc=KeyError("k"), countdown=3600)
        return "done"

    caplog.set_level(logging.INFO)
    clock = FakeClock(wall=time.time())
    slot = world.start(clock=clock)
    task_id = world.call("again")
    world.wait_for((task_id, "RETRY"))
    assert repr(world.record(task_id)["result"]) == "KeyError('k')"
    assert f"Task again[{task_id}] retry: Retry in 3600s: KeyError('k')" in caplog.text
    assert world.depth().delayed == 1

    clock.jump_wall(3700)
    count, _ = world.broker.promote(["celery"], clock.wall())

    assert count == 1
    world.wait_for((task_id, "SUCCESS"))
    assert attempts == [0, 1]
    assert slot.row.next_due > time.time() + 3000
    assert world.dead() == []


def test_given_a_call_that_is_not_due_then_it_waits_in_the_store_and_is_received_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ran = threading.Event()

    @world.task(name="later")
    def later() -> None:
        ran.set()

    @world.task(name="now")
    def now() -> None: ...

    caplog.set_level(logging.INFO)
    slot = world.start()
    task_id = world.call("later", eta=FAR_TEXT)
    after = world.call("now")
    world.wait_for((after, "SUCCESS"))

    assert not ran.is_set()
    assert world.depth().delayed == 1
    assert slot.row.next_due == FAR
    received = [record for record in caplog.records if record.getMessage() == f"Task later[{task_id}] received"]
    assert len(received) == 1
    assert vars(received[0])["data"]["eta"].isoformat() == FAR_TEXT


def test_given_an_expired_call_then_it_is_revoked_and_never_run(world: World, caplog: pytest.LogCaptureFixture) -> None:
    ran = threading.Event()

    @world.task(name="late")
    def late() -> None:
        ran.set()

    caplog.set_level(logging.INFO)
    world.start()
    task_id = world.call("late", expires=PAST_TEXT)
    world.wait_for((task_id, "REVOKED"))

    assert not ran.is_set()
    assert str(world.record(task_id)["result"]) == "expired"
    said = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert said == [f"Task late[{task_id}] received", f"Discarding revoked task: late[{task_id}]"]


def test_given_a_revoked_id_then_its_call_is_not_run(world: World) -> None:
    ran: list[str] = []

    @world.task(name="t", bind=True)
    def t(self: Any) -> None:
        ran.append(self.request.id)

    world.revoke("bad")
    world.start()
    world.call("t", id="bad")
    world.call("t", id="good")
    world.wait_for(("bad", "REVOKED"), ("good", "SUCCESS"))

    assert ran == ["good"]
    assert str(world.record("bad")["result"]) == "revoked"


def test_given_an_unknown_task_then_its_caller_is_told_and_the_message_kept(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.start(unknown_timeout_s=0.0)
    task_id = world.call("proj.gone", 1)
    world.wait_for((task_id, "FAILURE"))

    assert type(world.record(task_id)["result"]).__name__ == "NotRegistered"
    (letter,) = world.dead()
    assert letter.note.cause == "unknown"
    assert "Received unregistered task of type 'proj.gone'." in caplog.text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda message: setattr(message, "body", b"[[], {}]"),
        lambda message: setattr(message, "body", b"no json"),
        lambda message: setattr(message, "content_type", "application/x-python-serialize"),
        lambda message: message.headers.pop("id"),
        lambda message: message.headers.update(eta="not a date"),
        lambda message: message.headers.update(compression="application/x-unknown"),
    ],
    ids=["two elements", "garbage body", "pickle", "no id", "wrong eta", "unknown compression"],
)
def test_given_a_message_that_cannot_be_read_then_it_is_kept_and_the_slot_goes_on(
    world: World, spoil: Callable[[Message], object], caplog: pytest.LogCaptureFixture
) -> None:
    @world.task(name="t")
    def t() -> None: ...

    message = build("t", "bad", routing_key="celery")
    spoil(message)
    world.start()
    world.broker.publish([Outgoing(message, "celery")])
    good = world.call("t")
    world.wait_for((good, "SUCCESS"))

    (letter,) = world.dead()
    assert letter.note.cause == "unreadable"
    assert letter.note.detail
    assert "Received invalid task message: " in caplog.text
    assert world.depth().ready == 0
    if "id" in message.headers:
        assert world.state("bad") == "FAILURE"


def test_given_bytes_that_are_no_envelope_then_they_are_kept_and_the_slot_goes_on(world: World) -> None:
    @world.task(name="t")
    def t() -> None: ...

    if world.driver is not memory:
        pytest.skip("nobody but its driver writes to a sqlite store")
    put_raw(world.url, "celery", b"\x00 nothing")
    world.start()
    good = world.call("t")
    world.wait_for((good, "SUCCESS"))

    (letter,) = world.dead()
    assert (letter.note.cause, letter.raw) == ("unreadable", b"\x00 nothing")


def test_given_protocol_1_then_the_call_runs(world: World) -> None:
    @world.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    world.start()
    task_id = world.call("add", 2, 3, protocol=1)
    world.wait_for((task_id, "SUCCESS"))


def test_given_ignored_results_then_nothing_is_stored(world: World) -> None:
    @world.task(name="quiet", ignore_result=True)
    def quiet() -> int:
        return 1

    @world.task(name="loud")
    def loud() -> int:
        return 1

    world.start()
    by_task = world.call("quiet", ignore_result=None)
    by_call = world.call("loud", ignore_result=True)
    last = world.call("loud")
    world.wait_for((last, "SUCCESS"))

    assert (world.state(by_task), world.state(by_call)) == ("PENDING", "PENDING")


def test_given_store_errors_even_if_ignored_then_only_the_failure_is_stored(make_world: Callable[..., World]) -> None:
    world = make_world(task_store_errors_even_if_ignored=True, task_ignore_result=True)

    @world.task(name="fail")
    def fail() -> None:
        raise ValueError

    world.start()
    task_id = world.call("fail", ignore_result=None)
    world.wait_for((task_id, "FAILURE"))


def test_given_ignore_then_no_state_is_written_and_the_message_is_gone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    @world.task(name="ignores")
    def ignores() -> None:
        raise Ignore

    @world.task(name="t")
    def t() -> None: ...

    caplog.set_level(logging.INFO)
    world.start()
    task_id = world.call("ignores")
    last = world.call("t")
    world.wait_for((last, "SUCCESS"))

    assert world.state(task_id) == "PENDING"
    assert world.dead() == []
    assert f"Task ignores[{task_id}] ignored" in caplog.text


def test_given_a_reject_without_requeue_then_it_is_a_failure_and_kept(world: World, caplog: pytest.LogCaptureFixture) -> None:
    @world.task(name="rejects", acks_late=True)
    def rejects() -> None:
        raise Reject("no", requeue=False)

    world.start()
    task_id = world.call("rejects")
    world.wait_for((task_id, "FAILURE"))

    assert type(world.record(task_id)["result"]).__name__ == "Reject"
    assert [letter.note.cause for letter in world.dead()] == ["rejected"]
    assert f"Task rejects[{task_id}] reject requeue=False: no" in caplog.text


def test_given_a_late_reject_with_requeue_then_it_comes_back_as_often_as_the_task_wants(world: World) -> None:
    seen: list[bool] = []

    @world.task(name="busy", acks_late=True, bind=True)
    def busy(self: Any) -> int:
        seen.append(self.request.delivery_info["redelivered"])
        if len(seen) < 9:  # more often than task_max_deliveries: nothing was lost
            raise Reject("busy", requeue=True)
        return len(seen)

    world.start()
    task_id = world.call("busy")
    world.wait_for((task_id, "SUCCESS"))

    assert seen == [False] + [True] * 8
    assert world.dead() == []


def test_given_a_result_that_does_not_encode_then_the_call_is_a_failure(world: World) -> None:
    told: list[str] = []

    class Told(world.app.Task):  # type: ignore[misc, name-defined]
        def on_success(self, *args: Any) -> None:
            told.append("success")

        def on_failure(self, *args: Any) -> None:
            told.append("failure")

    @world.task(name="odd", base=Told)
    def odd() -> object:
        return object()

    world.start()
    task_id = world.call("odd")
    world.wait_for((task_id, "FAILURE"))

    assert type(world.record(task_id)["result"]).__name__ == "EncodeError"
    assert told == ["failure"]


def test_given_track_started_then_started_is_stored_before_the_task_runs(world: World) -> None:
    states: list[str] = []

    @world.task(name="t", bind=True, track_started=True)
    def t(self: Any) -> None:
        states.append(world.state(self.request.id))
        assert world.record(self.request.id)["result"]["hostname"] == "w1@test"

    world.start()
    task_id = world.call("t")
    world.wait_for((task_id, "SUCCESS"))

    assert states == ["STARTED"]


def test_given_extended_results_then_the_record_tells_what_ran(make_world: Callable[..., World]) -> None:
    world = make_world(result_extended=True)

    @world.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    world.start()
    task_id = world.call("add", 2, 3)
    world.wait_for((task_id, "SUCCESS"))

    record = world.record(task_id)
    expected = {"name": "add", "args": [2, 3], "kwargs": {}, "worker": "w1@test", "retries": 0, "queue": "celery"}
    assert {key: record[key] for key in expected} == expected


def test_given_a_redelivery_above_the_cap_then_it_is_poison(world: World) -> None:
    @world.task(name="t", acks_late=True)
    def t() -> None: ...

    task_id = world.call("t", headers={"x-sedano-deliveries": 5})
    world.start()
    world.wait_for((task_id, "FAILURE"))

    assert [letter.note.cause for letter in world.dead()] == ["poison"]
    assert type(world.record(task_id)["result"]).__name__ == "WorkerLostError"


def test_given_a_redelivery_of_a_successful_call_when_asked_to_deduplicate_then_it_is_skipped(
    make_world: Callable[..., World],
) -> None:
    world = make_world(worker_deduplicate_successful_tasks=True, task_acks_late=True)
    ran: list[str] = []

    @world.task(name="t", bind=True)
    def t(self: Any) -> None:
        ran.append(self.request.id)

    world.start()
    world.call("t", id="one")
    world.wait_for(("one", "SUCCESS"))
    world.call("t", id="one", headers={"redelivered": True})
    world.call("t", id="two")
    world.wait_for(("two", "SUCCESS"))

    assert ran == ["one", "two"]


def test_given_callbacks_then_they_are_sent_and_are_children_of_the_result(world: World) -> None:
    @world.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    world.start()
    link = {
        "task": "add",
        "args": [10],
        "kwargs": {},
        "options": {"task_id": "linked"},
        "subtask_type": None,
        "immutable": False,
    }
    task_id = world.call("add", 2, 3, callbacks=[link])
    world.wait_for((task_id, "SUCCESS"), ("linked", "SUCCESS"))

    assert world.record("linked")["result"] == 15
    assert world.record(task_id)["children"] == [[["linked", None], None]]


def test_given_a_call_that_is_over_then_an_idle_slot_keeps_nothing_of_it(world: World) -> None:
    requests: list[weakref.ref[Any]] = []

    @world.task(name="once", bind=True)
    def once(self: Any, large: list[int]) -> None:
        requests.append(weakref.ref(self.request))

    slot = world.start()
    world.wait_for((world.call("once", [1, 2, 3]), "SUCCESS"))
    until = time.monotonic() + 60
    while slot.row.phase is not Phase.IDLE:
        assert time.monotonic() < until
        time.sleep(0.001)  # another thread comes to its rest: it can only be looked at

    assert requests[0]() is None

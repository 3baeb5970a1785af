"""What Celery's clients read of our nodes' hands, what they revoke, and what is said of a call that a Celery worker has."""

from __future__ import annotations

import uuid

import pytest
from tests.interop.peers import Pair

pytestmark = [pytest.mark.celery, pytest.mark.redis]

KEYS = [
    "acknowledged", "args", "delivery_info", "hostname", "id", "kwargs", "name", "time_start", "type", "worker_pid",
]  # fmt: skip

STAMPED = "signature = app.signature('calc.' + task, args=args); signature.stamp(order=stamp); "


def gate() -> str:
    return f"gate-{uuid.uuid4().hex}"


def started(pair: Pair, source: str, **variables: object) -> str:
    """The id of a call that runs."""
    task_id: str = pair.ask(f"{source}.id", **variables)
    pair.place.until_started([task_id])
    return task_id


def test_given_a_busy_node_of_ours_when_celery_inspects_then_it_reads_what_the_node_holds(from_celery: Pair) -> None:
    pair, name, door = from_celery, from_celery.name, gate()
    running = started(pair, "calc.hold.delay(door)", door=door)
    later = pair.ask("calc.add.apply_async((1, 2), countdown=3000).id")
    ask = "app.control.inspect(destination=[name], timeout=PATIENCE)"
    (call,) = pair.ask(f"{ask}.active()", name=name)[name]
    assert sorted(call) == KEYS
    assert (call["id"], call["name"], call["args"], call["acknowledged"]) == (running, "calc.hold", [door], True)
    rows = pair.ask(
        "until(lambda: [row for row in app.control.inspect(timeout=1.0).scheduled()[name] if row['request']['id'] == later])",
        name=name,
        later=later,
    )
    assert sorted(rows[0]) == ["eta", "priority", "request"]
    assert sorted(rows[0]["request"]) == KEYS
    found = pair.ask(f"{ask}.query_task([running, later])", name=name, running=running, later=later)[name]
    assert {id_: state for id_, (state, _) in found.items()} == {running: "active", later: "scheduled"}
    assert pair.ask(f"{ask}.reserved()", name=name) == {name: []}
    shown = pair.command("inspect", "active", "--timeout", "60", "--destination", name)
    assert running in shown.stdout
    assert "1 node online." in shown.stdout

    pair.ask("app.control.revoke(later)", later=later)
    assert pair.ask("until(lambda: AsyncResult(later).state == 'REVOKED')", later=later)
    assert later in pair.ask(f"{ask}.revoked()", name=name)[name]
    pair.place.open_gate(door)
    assert pair.ask("AsyncResult(running).get(timeout=PATIENCE)", running=running) == "sedano"


def test_given_stamped_calls_when_celery_revokes_by_stamp_then_our_node_ends_and_refuses_them(from_celery: Pair) -> None:
    pair, name, stamp = from_celery, from_celery.name, uuid.uuid4().hex
    running = started(pair, STAMPED + "signature.apply_async()", task="hold", args=("never",), stamp=stamp)
    (answer,) = pair.ask(
        "app.control.revoke_by_stamped_headers({'order': [stamp]}, terminate=True, destination=[name], reply=True,"
        " timeout=PATIENCE)",
        name=name,
        stamp=stamp,
    )
    # Celery 5.4's client takes the letters of this answer for ids, revokes them, and returns what that gave
    assert pair.caller.name == "celery5.4" or answer == {
        name: {"ok": f"headers defaultdict(<class 'set'>, {{'order': {{'{stamp}'}}}}) revoked"}
    }
    assert pair.ask("until(lambda: AsyncResult(running).state == 'REVOKED')", running=running)
    refused = pair.ask(STAMPED + "signature.apply_async().id", task="add", args=(1, 1), stamp=stamp)
    assert pair.ask("until(lambda: AsyncResult(refused).state == 'REVOKED')", refused=refused)
    assert pair.ask("calc.add.delay(1, 1).get(timeout=PATIENCE)") == 2


def test_given_calls_that_a_celery_worker_has_when_asked_why_then_it_is_named(to_celery: Pair) -> None:
    pair, name, door = to_celery, to_celery.name, gate()
    running = started(pair, "calc.hold.delay(door)", door=door)
    late = started(pair, "calc.hold_late.delay(door)", door=door)
    why = "(lambda answer: (answer.code, answer.reasons[0].text))(app.why(task_id, timeout=PATIENCE))"
    for task_id in (running, late):
        code, text = pair.ask(why, task_id=task_id)
        assert code == "running"
        assert text.startswith(f"it runs on {name} since 2")
    delayed = pair.ask("calc.add.apply_async((1, 2), countdown=3000).id")
    assert pair.ask("until(lambda: app.why(task_id, timeout=PATIENCE).reasons[0].code == 'delayed')", task_id=delayed)
    assert "a Celery worker" in pair.ask("app.why(task_id, timeout=PATIENCE).reasons[0].text", task_id=delayed)
    pair.ask("app.control.revoke(delayed)", delayed=delayed)
    pair.place.open_gate(door)
    assert pair.ask("AsyncResult(late).get(timeout=PATIENCE)", late=late) == "celery"

"""What follows a call: callbacks, errbacks, the steps of a chain."""

from __future__ import annotations

import pytest
from tests.interop.peers import Pair

pytestmark = [pytest.mark.celery, pytest.mark.redis]


def test_given_a_callback_when_the_call_succeeds_then_it_runs_with_the_result_and_is_a_child(pair: Pair) -> None:
    source = """
        result = add.apply_async((2, 3), link=mul.s(10))
        result.get(timeout=PATIENCE)
        child = result.children[0]
        [len(result.children), child.get(timeout=PATIENCE)]
    """
    assert pair.ask(source) == [1, 50]


def test_given_several_callbacks_when_the_call_succeeds_then_all_run(pair: Pair) -> None:
    source = """
        from uuid import uuid4
        ids = [str(uuid4()) for _ in range(3)]
        link = [mul.s(2).set(task_id=ids[0]), add.s(1).set(task_id=ids[1]), add.si(100, 1).set(task_id=ids[2])]
        add.apply_async((2, 3), link=link)
        [AsyncResult(task_id).get(timeout=PATIENCE) for task_id in ids]
    """
    assert pair.ask(source) == [10, 6, 101]


def test_given_a_callback_when_it_runs_then_it_knows_its_root_and_parent(pair: Pair) -> None:
    source = """
        result = add.apply_async((2, 3), link=describe.s())
        result.get(timeout=PATIENCE)
        seen = result.children[0].get(timeout=PATIENCE)
        [seen["root_id"] == result.id, seen["parent_id"] == result.id, seen["args"]]
    """
    assert pair.ask(source) == [True, True, [5]]


def test_given_errbacks_of_both_forms_when_the_call_fails_then_they_run(pair: Pair) -> None:
    old = pair.ask("fail.apply_async(('boom',), link_error=errback.s()).id")
    new = pair.ask("fail.apply_async(('boom',), link_error=errback_on_the_spot.s()).id")
    wanted = {f"errback-{old}", f"spot-{new}-ValueError-True"}
    pair.place.until(lambda: wanted <= set(pair.place.ledger.starts()))


def test_given_an_errback_when_the_call_succeeds_then_it_does_not_run(pair: Pair) -> None:
    task_id = pair.ask("result = add.apply_async((2, 3), link_error=errback.s())\nresult.get(timeout=PATIENCE)\nresult.id")
    assert pair.ask("add.delay(1, 1).get(timeout=PATIENCE)") == 2
    assert f"errback-{task_id}" not in pair.place.ledger.starts()


def test_given_a_chain_of_celerys_when_it_runs_on_sedano_then_each_step_gets_the_one_before(from_celery: Pair) -> None:
    source = """
        from celery import chain
        last = chain(add.s(2, 3), mul.s(10), add.s(4))()
        [last.get(timeout=PATIENCE), last.parent.get(timeout=PATIENCE), last.parent.parent.get(timeout=PATIENCE),
         [one.id for one in last.parent.parent.children] == [last.parent.id],
         [one.id for one in last.parent.children] == [last.id], last.children or []]
    """
    assert from_celery.ask(source) == [54, 50, 5, True, True, []]


def test_given_a_chain_of_celerys_when_it_runs_on_sedano_then_each_step_knows_root_and_parent(from_celery: Pair) -> None:
    source = """
        from celery import chain
        last = chain(add.s(2, 3), describe.s(), describe.s())()
        third, second, first = last, last.parent, last.parent.parent
        seen = [third.get(timeout=PATIENCE), second.get(timeout=PATIENCE)]
        [[seen[0]["root_id"], seen[0]["parent_id"]] == [first.id, second.id],
         [seen[1]["root_id"], seen[1]["parent_id"]] == [first.id, first.id]]
    """
    assert from_celery.ask(source) == [True, True]


def test_given_a_chain_of_celerys_when_a_step_fails_on_sedano_then_the_caller_of_the_last_hears_it(from_celery: Pair) -> None:
    source = """
        from celery import chain
        last = chain(add.s(2, 3), fail.si("in the middle"), mul.s(10))()
        # The later step's record is written a moment before the failed one's own: wait for both.
        [outcome(last), outcome(last.parent)]
    """
    assert from_celery.ask(source) == [("raised", "ValueError", ("in the middle",))] * 2


def test_given_a_chain_of_celerys_with_options_when_it_runs_on_sedano_then_they_hold_for_each_step(from_celery: Pair) -> None:
    source = """
        from celery import chain
        begun = time.time()
        last = chain(add.s(2, 3), now.s().set(countdown=0.5), echo.s(kept=True).set(priority=6))()
        (at,), kwargs = last.get(timeout=PATIENCE)
        [at - begun, kwargs]
    """
    waited, kwargs = from_celery.ask(source)
    assert 0.5 <= waited < 2.5
    assert kwargs == {"kept": True}


def test_given_a_message_of_protocol_1_when_celery_sends_it_then_sedano_runs_it(from_celery: Pair) -> None:
    source = """
        new_form = app.amqp.create_task_message
        app.amqp.create_task_message = app.amqp.as_task_v1
        try:
            sent = [add.delay(2, 3), echo.apply_async((1,), {"two": 2}, countdown=0.2),
                    add.apply_async((2, 3), link=mul.s(10)), now.apply_async(expires=-60), flaky.delay(1)]
        finally:
            app.amqp.create_task_message = new_form
        values = [outcome(one) for one in sent]
        [*values[:4], values[4][1][0], sent[2].children[0].get(timeout=PATIENCE)]
    """
    assert from_celery.ask(source) == [
        ("value", 5),
        ("value", [[1], {"two": 2}]),
        ("value", 5),
        ("raised", "TaskRevokedError", ("expired",)),
        1,
        50,
    ]


def test_given_message_protocol_1_when_sedano_sends_it_then_celery_runs_it(to_celery: Pair) -> None:
    source = """
        app.conf.task_protocol = 1
        try:
            sent = [add.delay(2, 3), echo.apply_async((1,), {"two": 2}, countdown=0.2), now.apply_async(expires=-60)]
        finally:
            app.conf.task_protocol = 2
        [outcome(one) for one in sent]
    """
    assert to_celery.ask(source) == [
        ("value", 5),
        ("value", [[1], {"two": 2}]),
        ("raised", "TaskRevokedError", ("expired",)),
    ]

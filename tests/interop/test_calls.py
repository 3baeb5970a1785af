"""A call goes out on one engine, runs on the other, and its value comes back."""

from __future__ import annotations

import decimal
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from tests.interop.peers import Pair

pytestmark = [pytest.mark.celery, pytest.mark.redis]

TYPED = [
    datetime(2026, 11, 21, 8, 30, 15, 123456, UTC),
    datetime(2026, 11, 21, 8, 30, tzinfo=timezone(timedelta(hours=8))),
    datetime(2026, 11, 21, 8, 30),
    date(2026, 11, 21),
    time(8, 30, 15),
    decimal.Decimal("12.50"),
    uuid.UUID("12345678-1234-5678-1234-567812345678"),
    b"text",
    b"\xff\x00 no text",
    "Sellerie, celeriac, 芹菜 \u2028 \U0001f96c",
    [1, 2.5, None, True, {"nested": ["x"]}],
    2**70,
    {},
    "",
]


def test_given_two_numbers_when_called_then_their_sum_comes_back(pair: Pair) -> None:
    assert pair.ask("add.delay(2, 3).get(timeout=PATIENCE)") == 5


def test_given_keyword_arguments_when_called_then_they_arrive(pair: Pair) -> None:
    assert pair.ask("echo.delay(1, two=2, three=[3]).get(timeout=PATIENCE)") == [[1], {"two": 2, "three": [3]}]


def test_given_a_task_known_by_name_only_when_sent_then_it_runs(pair: Pair) -> None:
    assert pair.ask("app.send_task('calc.add', (2,), {'y': 5}).get(timeout=PATIENCE)") == 7


def test_given_values_with_types_when_sent_as_json_then_they_keep_them_there_and_back(pair: Pair) -> None:
    source = "sent = [same.delay(value) for value in values]\n[result.get(timeout=PATIENCE) for result in sent]"
    assert pair.ask(source, values=TYPED) == TYPED


def test_given_values_with_types_when_sent_as_json_then_the_task_sees_their_types(pair: Pair) -> None:
    source = "[kind.delay(value).get(timeout=PATIENCE) for value in values]"
    assert pair.ask(source, values=TYPED) == [type(value).__name__ for value in TYPED]


def test_given_what_only_pickle_carries_when_sent_as_pickle_then_it_arrives_as_it_is(pair: Pair) -> None:
    source = "[kind.apply_async((value,), serializer='pickle').get(timeout=PATIENCE) for value in values]"
    values = [(1, 2), {1, 2}, complex(1, 2), timedelta(seconds=5)]
    assert pair.ask(source, values=values) == ["tuple", "set", "complex", "timedelta"]


def test_given_a_large_body_when_compressed_with_zlib_then_it_is_smaller_on_the_wire_and_arrives(pair: Pair) -> None:
    pair.ask("same.apply_async(('x' * 100_000,), compression='zlib', queue='nobody-reads-this').id")
    assert len(pair.place.redis.lindex("nobody-reads-this", 0)) < 5_000
    source = "same.apply_async(('x' * 100_000,), compression='zlib').get(timeout=PATIENCE)"
    assert pair.ask(source) == "x" * 100_000


def test_given_headers_of_ones_own_when_called_then_the_request_has_them(pair: Pair) -> None:
    seen = pair.ask("describe.apply_async(headers={'tenant': 'blue', 'trace': {'id': 7}}).get(timeout=PATIENCE)")
    assert seen["tenant"] == "blue"
    assert seen["headers"]["tenant"] == "blue"
    assert seen["headers"]["trace"] == {"id": 7}


def test_given_a_call_when_it_runs_then_its_request_says_what_the_caller_said(pair: Pair) -> None:
    source = """
        result = describe.apply_async(
            (1, 2), shadow="other.name", soft_time_limit=40, time_limit=50, priority=3, task_id="id-of-my-own"
        )
        result.get(timeout=PATIENCE)
    """
    seen = pair.ask(source)
    assert seen["id"] == seen["root_id"] == seen["correlation_id"] == "id-of-my-own"
    assert seen["parent_id"] is None
    assert seen["args"] == [1, 2]
    assert seen["kwargs"] == {}
    assert seen["shadow"] == "other.name"
    assert seen["timelimit"] == [50, 40]
    assert seen["queue"] == "celery"
    assert seen["priority"] == 3
    assert not seen["redelivered"]
    assert seen["retries"] == 0
    assert seen["hostname"] == pair.name
    assert seen["origin"].startswith("gen")
    assert seen["reply_to"]
    assert seen["engine"] == ("sedano" if pair.engine.is_sedano else "celery")


def test_given_a_task_that_calls_another_when_run_then_the_child_knows_root_and_parent(pair: Pair) -> None:
    source = """
        result = parent_of.delay(41)
        child = result.get(timeout=PATIENCE)
        [child, [one.id for one in result.children], result.children[0].get(timeout=PATIENCE)]
    """
    child, children, value = pair.ask(source)
    assert children == [child]
    assert value == 42


def test_given_ignore_result_when_called_then_it_runs_and_stores_nothing(pair: Pair) -> None:
    source = "result = mark.apply_async(('ignored',), ignore_result=True)\n[result.id, result.get(timeout=PATIENCE)]"
    task_id, value = pair.ask(source)
    assert value is None
    pair.place.until(lambda: pair.place.ledger.ends()["ignored"])
    assert not pair.place.redis.exists(f"celery-task-meta-{task_id}")


def test_given_a_result_when_stored_then_it_lives_for_a_day(pair: Pair) -> None:
    task_id = pair.ask("result = add.delay(1, 1)\nresult.get(timeout=PATIENCE)\nresult.id")
    assert 86_000 < pair.place.redis.ttl(f"celery-task-meta-{task_id}") <= 86_400


def test_given_a_result_when_forgotten_by_the_caller_then_it_is_gone(pair: Pair) -> None:
    source = "result = add.delay(1, 1)\nresult.get(timeout=PATIENCE)\nresult.forget()\nAsyncResult(result.id).state"
    assert pair.ask(source) == "PENDING"


def test_given_a_result_when_read_again_by_its_id_then_all_of_it_is_there(pair: Pair) -> None:
    source = """
        task_id = add.delay(2, 3).id
        again = AsyncResult(task_id)
        again.get(timeout=PATIENCE)
        [again.state, again.result, again.info, again.successful(), again.ready(), again.traceback, again.children,
         again.date_done.isoformat()]
    """
    *known, done = pair.ask(source)
    assert known == ["SUCCESS", 5, 5, True, True, None, []]
    assert abs((datetime.fromisoformat(done) - datetime.now(UTC)).total_seconds()) < 30


def test_given_many_calls_at_once_when_collected_then_each_has_its_own_value(pair: Pair) -> None:
    source = "sent = [mul.delay(n, n) for n in range(100)]\n[result.get(timeout=PATIENCE) for result in sent]"
    assert pair.ask(source) == [n * n for n in range(100)]

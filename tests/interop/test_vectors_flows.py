"""Workflows that real Celery 5.7 ran while every Redis command was recorded (recordings/redis-flows.json): our worker does the
same with the same messages, we read what its worker wrote, and each counts on in a chord that the other began."""

from __future__ import annotations

import json
import pathlib
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.apps import MakeApp, make_app
from tests.servers import RedisServer, redis_server

from sedano import Celery, states
from sedano.exceptions import ChordError
from sedano.protocol import call, envelope
from sedano.result import GroupResult
from sedano.testing.worker import start_worker

__all__ = ["make_app", "redis_server"]

pytestmark = pytest.mark.redis

PATIENCE_S = 60.0
RECORDINGS = pathlib.Path(__file__).parent / "recordings" / "redis-flows.json"
FLOWS = {vector["id"]: vector["commands"] for vector in json.loads(RECORDINGS.read_text(encoding="utf-8"))["vectors"]}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
META, GROUP = "celery-task-meta-", "celery-taskset-meta-"


def commands(name: str, *kinds: str) -> list[tuple[str, list[str]]]:
    """(who said it, words) of the recorded commands of these kinds."""
    return [(each["by"], each["cmd"]) for each in FLOWS[name] if each["cmd"][0] in kinds]


def sent_by_producer(name: str) -> list[str]:
    pushes = [(by, words) for by, words in commands(name, "LPUSH") if words[1] == "celery"]
    return [words[2] for by, words in pushes if by == pushes[0][0]]


def prepared(name: str) -> list[list[str]]:
    """What the producer of a chord says of it before its worker does anything."""
    said = [(by, words) for by, words in commands(name, "DEL", "SET") if words[1].startswith(GROUP)]
    return [words for by, words in said if by == said[0][0]]


def written(name: str) -> dict[str, str]:
    """The records of Celery's worker, by id."""
    return {words[1].removeprefix(META): words[3] for _, words in commands(name, "SETEX") if words[1].startswith(META)}


def comparable(records: dict[str, str], known: set[str]) -> list[str]:
    """Records as text, sorted; ids that the producer's messages do not tell are `new`, dates are left out, and of tracebacks
    stands only whether there is one. The children of a failed call are its errbacks; Celery's record has none.
    """
    found: list[str] = []
    for payload in records.values():
        meta = json.loads(payload)
        del meta["date_done"]
        if meta["status"] == states.FAILURE:
            del meta["children"]
        meta["traceback"] = meta["traceback"] is not None
        text = json.dumps(meta, sort_keys=True)
        found.append(UUID.sub(lambda seen: seen.group() if seen.group() in known else "new", text))
    return sorted(found)


def declare(app: Celery) -> None:
    def task(**options: Any) -> Callable[..., Any]:
        return lambda function: app.task(name=f"proj.{function.__name__}", **options)(function)

    @task()
    def add(x: Any, y: Any) -> Any:
        return x + y

    @task()
    def mul(x: Any, y: Any) -> Any:
        return x * y

    @task()
    def tsum(values: Any) -> Any:
        return sum(values)

    @task()
    def fail() -> None:
        raise ValueError("boom", 42)

    @task()
    def onerr(task_id: str) -> str:
        return f"err:{task_id}"

    @task(bind=True)
    def replacer(self: Any, x: Any) -> None:
        raise self.replace(add.s(x, 100))

    @task()
    def parent() -> Any:
        return add.delay(1, 1).id


@pytest.fixture
def app(make_app: MakeApp, redis_server: RedisServer) -> Celery:
    redis_server.command("FLUSHALL")
    made = make_app(main="proj", broker=redis_server.url, backend=redis_server.url)
    declare(made)
    return made


@pytest.mark.parametrize("name", FLOWS)
def test_given_what_a_producer_of_celery_said_when_our_worker_runs_it_then_the_same_records_are_written(
    name: str, app: Celery, redis_server: RedisServer
) -> None:
    for words in prepared(name):
        redis_server.command(*words)
    for raw in sent_by_producer(name):
        redis_server.command("LPUSH", "celery", raw)
    theirs = written(name)
    known = {seen.group() for raw in sent_by_producer(name) for seen in UUID.finditer(_opened(raw))}
    ours: dict[str, str] = {}
    with start_worker(app):
        deadline = time.monotonic() + PATIENCE_S
        while len(ours) < len(theirs) and time.monotonic() < deadline:
            keys = [key.decode() for key in redis_server.command("KEYS", f"{META}*")]
            ours = {key.removeprefix(META): redis_server.command("GET", key).decode() for key in keys}
            time.sleep(0.01)
    assert comparable(ours, known) == comparable(theirs, known)


def _opened(raw: str) -> str:
    return raw + envelope.decode(raw.encode()).body.decode()


@pytest.mark.parametrize("name", FLOWS)
def test_given_the_records_of_a_worker_of_celery_when_we_read_them_then_states_and_children_are_as_written(
    name: str, app: Celery, redis_server: RedisServer
) -> None:
    theirs = written(name)
    for task_id, payload in theirs.items():
        redis_server.command("SET", META + task_id, payload)
    for task_id, payload in theirs.items():
        meta = json.loads(payload)
        result = app.AsyncResult(task_id)
        value = result.get(timeout=PATIENCE_S, propagate=False)
        assert result.state == meta["status"]
        if result.state == states.SUCCESS:
            assert value == meta["result"]
        else:
            assert (type(value).__name__, list(value.args)) == (meta["result"]["exc_type"], meta["result"]["exc_message"])
        assert json.loads(json.dumps([child.as_tuple() for child in result.children or ()])) == meta["children"]
        assert all(child.id in theirs for child in result.children or ())


def test_given_a_group_that_celery_ran_when_we_ask_for_all_then_they_come_in_the_order_of_its_members(
    app: Celery, redis_server: RedisServer
) -> None:
    messages = [envelope.decode(raw.encode()) for raw in sent_by_producer("group_get")]
    for task_id, payload in written("group_get").items():
        redis_server.command("SET", META + task_id, payload)
    results = [app.AsyncResult(message.headers["id"]) for message in messages]
    assert GroupResult(messages[0].headers["group"], results, app=app).get(timeout=PATIENCE_S) == [2, 4]


# -- one chord, two kinds of workers -------------------------------------------------------------------------------------------

CHORDS = ("chord", "chord_error")


def first_part(name: str) -> list[list[str]]:
    """What the script of Celery's worker writes of the first part."""
    added = [words for by, words in commands(name, "ZADD", "SADD") if by == "lua"]
    return added[:2]


@pytest.mark.parametrize("name", CHORDS)
def test_given_a_chord_that_a_worker_of_celery_began_when_ours_counts_the_last_part_then_it_completes(
    name: str, app: Celery, redis_server: RedisServer
) -> None:
    _, second = sent_by_producer(name)
    for words in [*prepared(name), *first_part(name)]:
        redis_server.command(*words)
    body_id = call.read_body(envelope.decode(second.encode())).embed.chord["options"]["task_id"]
    redis_server.command("LPUSH", "celery", second)
    with start_worker(app):
        value = app.AsyncResult(body_id).get(timeout=PATIENCE_S, propagate=False)
    if name == "chord":
        assert value == json.loads(written(name)[body_id])["result"]
    else:
        assert isinstance(value, ChordError)
        assert list(value.args) == json.loads(written(name)[body_id])["result"]["exc_message"]


@pytest.mark.parametrize("name", CHORDS)
def test_given_a_chord_that_our_worker_begins_when_celery_looks_then_the_first_part_is_what_it_would_have_written(
    name: str, app: Celery, redis_server: RedisServer
) -> None:
    first, _ = sent_by_producer(name)
    for words in prepared(name):
        redis_server.command(*words)
    message = envelope.decode(first.encode())
    redis_server.command("LPUSH", "celery", first)
    with start_worker(app):
        app.AsyncResult(message.headers["id"]).get(timeout=PATIENCE_S)
        stem = GROUP + message.headers["group"]
        deadline = time.monotonic() + PATIENCE_S
        while not redis_server.command("ZCARD", stem + ".j"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    (zadd, sadd) = first_part(name)
    payload, score = redis_server.command("ZRANGE", stem + ".j", "0", "-1", "WITHSCORES")
    assert (json.loads(payload), score.decode()) == (json.loads(zadd[3]), zadd[2])
    assert [member.decode() for member in redis_server.command("SMEMBERS", stem + ".d")] == [sadd[2]]
    assert redis_server.command("GET", stem + ".s") == b"2"

"""Results over rpc://: the queue of whoever makes calls, what comes to it, and what happens when it is lost."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rabbit import RabbitServer, vhost_of

from sedano import Celery, exceptions
from sedano.canvas import chord, group
from sedano.contracts import AmqpOptions, ChordPart, OpenOptions, ResultWrite
from sedano.drivers.rabbitmq import open_results, replyqueue
from sedano.drivers.rabbitmq.address import address_of
from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.connection import Connection
from sedano.exceptions import ContentDisallowed, OperationalError
from sedano.protocol.results import encode_meta, failure, state, success
from sedano.states import PENDING

pytestmark = pytest.mark.rabbitmq

WAIT_S = 30.0
NOW = "2026-11-22T06:00:00+00:00"


class Client:
    """An app that makes calls, and a stand-in for the worker that answers them."""

    def __init__(self, url: str, folder: Path, **settings: Any) -> None:
        self.app = Celery("tasks", broker=url, backend="rpc://", set_as_current=False)
        self.app.conf.update(schedule_store=f"sqlite:///{folder}/schedule.db", **settings)
        self.add = self.app.task(name="add", shared=False)(lambda x, y: x + y)
        self._worker = open_results(url, OpenOptions(amqp=AmqpOptions()))

    def answer(self, *results: Any, value: Any = 5) -> None:
        """Every call succeeds."""
        self.tell(*(success(result.id, value, date_done=NOW) for result in results))

    def tell(self, *metas: dict[str, Any], reply_to: str | None = None) -> None:
        where = self.app.thread_oid if reply_to is None else reply_to
        self._worker.store([ResultWrite(meta["task_id"], encode_meta(meta), 60.0, True, where) for meta in metas])

    def close(self) -> None:
        self._worker.close()
        self.app.close()


@pytest.fixture
def make(rabbit_url: str, tmp_path: Path) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def new(**settings: Any) -> Client:
        clients.append(Client(rabbit_url, tmp_path, **settings))
        return clients[-1]

    yield new
    for client in clients:
        client.close()


@pytest.fixture
def client(make: Callable[..., Client]) -> Client:
    return make()


@pytest.fixture
def channel(rabbit_url: str) -> Iterator[Channel]:
    """Somebody else's channel."""
    connection = Connection(address_of(rabbit_url, {}, OpenOptions()), name="tests")
    connection.open()
    yield connection.channel()
    connection.close()


def test_given_a_first_call_when_it_is_sent_then_its_answer_has_a_queue_as_celery_declares_it(
    client: Client, rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    client.add.delay(2, 3)
    queue = rabbit_server.api("GET", f"queues/{vhost_of(rabbit_url)}/{client.app.thread_oid}")
    declared = {name: queue[name] for name in ("durable", "auto_delete", "exclusive", "arguments")}
    assert declared == {"durable": True, "auto_delete": True, "exclusive": False, "arguments": {"x-expires": 86400000}}
    client.app.close()
    names = [each["name"] for each in rabbit_server.api("GET", f"queues/{vhost_of(rabbit_url)}")]
    assert names == ["celery"], "with its reader it goes, as Celery's does"


def test_given_answers_when_they_are_read_then_in_any_order_by_any_thread_and_more_than_once(client: Client) -> None:
    results = [client.add.delay(2, 3) for _ in range(5)]
    client.answer(*results)
    assert results[3].get(timeout=WAIT_S) == 5
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(results[0].get(timeout=WAIT_S)))
    thread.start()
    thread.join(WAIT_S)
    assert found == [5]
    assert {client.app.thread_oid} == {oid_in_a_thread(client.app), client.app.thread_oid}, "one queue for all threads"
    assert client.app.AsyncResult(results[0].id).state == "SUCCESS", "in this process it can be asked for again"
    assert results[1].ready()
    assert results[1].children == []
    results[1].forget()
    assert client.app.AsyncResult(results[1].id).state == PENDING


def test_given_states_when_they_come_then_each_is_heard_and_the_last_is_the_state(client: Client) -> None:
    result = client.add.delay(2, 3)
    assert result.state == PENDING
    client.tell(state(result.id, "STARTED", {"pid": 1}))
    wait_until(lambda: result.state == "STARTED")
    client.tell(state(result.id, "PROGRESS", {"n": 7}))
    wait_until(lambda: result.info == {"n": 7})
    heard: list[str] = []
    client.tell(state(result.id, "RETRY", ValueError("again")), success(result.id, 5, date_done=NOW))
    assert result.get(timeout=WAIT_S, on_message=lambda meta: heard.append(meta["status"])) == 5
    assert heard[-1] == "SUCCESS"
    failed = client.add.delay(2, "x")
    client.tell(failure(failed.id, TypeError("no such sum"), date_done=NOW, traceback="Traceback"))
    with pytest.raises(TypeError, match="no such sum"):
        failed.get(timeout=WAIT_S)


def test_given_a_group_and_asyncio_when_answers_come_then_they_are_joined_and_awaited(client: Client) -> None:
    sent = group(client.add.s(number, number) for number in range(50)).apply_async()
    answering = threading.Timer(0.05, client.answer, sent.results)
    answering.start()
    assert sent.get(timeout=WAIT_S) == [5] * 50
    answering.join(WAIT_S)

    async def main() -> list[Any]:
        results = [await client.add.adelay(2, 3) for _ in range(5)]
        answering = threading.Timer(0.05, client.answer, results)
        answering.start()
        found = [await result for result in results]
        answering.join(WAIT_S)
        return found

    assert asyncio.run(main()) == [5] * 5


def test_given_another_process_when_it_asks_by_id_then_it_is_told_nothing(make: Callable[..., Client]) -> None:
    mine, other = make(), make()
    result = mine.add.delay(2, 3)
    assert other.app.AsyncResult(result.id).state == PENDING
    mine.answer(result)
    with pytest.raises(exceptions.TimeoutError):
        other.app.AsyncResult(result.id).get(timeout=0.3)
    assert result.get(timeout=WAIT_S) == 5


def test_given_results_that_are_messages_when_something_must_be_kept_then_it_is_refused_before_anything_is_sent(
    client: Client, channel: Channel
) -> None:
    channel.declare_queue("celery")
    add = client.add
    growing = chord((add.s(number, 1) for number in range(3)), add.s(1))
    for workflow in (chord([add.s(1, 1)], add.s(1)), group(add.s(1, 1), add.s(2, 2)) | add.s(1), growing):
        with pytest.raises(NotImplementedError, match="does not support chords"):
            workflow.apply_async()
    assert channel.declare_queue("celery", passive=True).messages == 0
    with pytest.raises(NotImplementedError, match="does not support chords"):
        client.app.backend.ensure_chords_allowed()
    sent = group(add.s(1, 1), add.s(2, 2)).apply_async()
    for refused in (sent.save, lambda: client.app.GroupResult.restore(sent.id), sent.delete):
        with pytest.raises(NotImplementedError):
            refused()


def test_given_a_reader_that_is_gone_when_a_worker_answers_then_it_is_no_error_and_a_chord_is_one(
    client: Client, rabbit_url: str
) -> None:
    client.tell(success("1", 5, date_done=NOW), reply_to="gone")
    client.tell(success("1", 5, date_done=NOW), reply_to="")
    worker = open_results(rabbit_url, OpenOptions())
    with pytest.raises(NotImplementedError, match="does not support chords"):
        worker.store([], [ChordPart("g", "1", 0, b"[]", 60.0)])
    worker.close()


def test_given_many_answers_that_nobody_asks_for_when_they_come_then_most_stay_on_the_server_until_somebody_does(
    client: Client, channel: Channel
) -> None:
    results = [client.add.delay(2, 3) for _ in range(1000)]
    client.answer(*results)
    left = 1000 - replyqueue.AHEAD
    wait_until(lambda: channel.declare_queue(client.app.thread_oid, passive=True).messages == left)
    assert [result.get(timeout=WAIT_S) for result in reversed(results)] == [5] * 1000
    more = [client.add.delay(2, 3) for _ in range(1000)]
    client.answer(*more)
    wait_until(more[-1].ready)
    assert all(result.ready() for result in more)


def test_given_answers_that_wait_long_when_nobody_asks_then_they_are_taken_in_before_the_server_loses_patience(
    make: Callable[..., Client], channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replyqueue, "LONGEST_HELD_S", 0.0)
    monkeypatch.setattr(replyqueue.ReplyQueue.__init__, "__kwdefaults__", {"keep_s": 0.02})
    client = make()
    results = [client.add.delay(2, 3) for _ in range(700)]
    client.answer(*results)
    wait_until(lambda: channel.declare_queue(client.app.thread_oid, passive=True).messages == 0)
    assert [result.get(timeout=WAIT_S) for result in results] == [5] * 700


def test_given_a_record_in_another_form_when_it_is_read_then_only_where_that_is_accepted(make: Callable[..., Client]) -> None:
    for accepted in (["json"], ["json", "pickle"]):
        client = make(result_accept_content=accepted)
        worker = open_results(client.app.conf.broker_url, OpenOptions(amqp=AmqpOptions(result_serializer="pickle")))
        result = client.add.delay(2, 3)
        meta = encode_meta(success(result.id, {1, 2}, date_done=NOW), "pickle")
        worker.store([ResultWrite(result.id, meta, 60.0, True, client.app.thread_oid)])
        worker.close()
        if "pickle" in accepted:
            assert result.get(timeout=WAIT_S) == {1, 2}
        else:
            with pytest.raises(ContentDisallowed):
                result.get(timeout=WAIT_S)


@pytest.mark.parametrize("loss", ["connections", "queue"])
def test_given_a_queue_that_is_lost_when_somebody_waits_then_it_is_there_again_and_later_answers_come(
    client: Client, rabbit_server: RabbitServer, rabbit_url: str, channel: Channel, loss: str
) -> None:
    first, second = client.add.delay(2, 3), client.add.delay(2, 3)
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(first.get(timeout=WAIT_S)))
    waiting.start()
    oid = client.app.thread_oid
    if loss == "queue":
        channel.delete_queue(oid)
    else:
        rabbit_server.close_connections(rabbit_url)
    deadline = time.monotonic() + WAIT_S
    while waiting.is_alive() and time.monotonic() < deadline:
        client.tell(success(first.id, 5, date_done=NOW))  # what comes while there is no queue is nobody's, as in Celery
        waiting.join(0.02)
    assert found == [5]
    client.answer(second)
    assert second.get(timeout=WAIT_S) == 5
    third = client.add.delay(2, 3)
    client.answer(third)
    assert third.get(timeout=WAIT_S) == 5


def test_given_a_queue_that_is_lost_while_nobody_waits_when_a_call_is_sent_then_its_answer_comes(
    client: Client, rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    result = client.add.delay(2, 3)
    client.answer(result)
    assert result.get(timeout=WAIT_S) == 5
    rabbit_server.close_connections(rabbit_url)
    result = client.add.delay(2, 3)
    client.answer(result)
    assert result.get(timeout=WAIT_S) == 5


def test_given_a_forked_child_when_both_make_calls_then_each_hears_its_own(client: Client) -> None:
    mine = client.add.delay(2, 3)
    ours, childs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            result = client.add.delay(2, 3)
            os.write(childs, f"{client.app.thread_oid} {result.id}\n".encode())
            os.write(childs, f"{result.get(timeout=WAIT_S)}\n".encode())
        finally:
            os._exit(0)
    os.close(childs)
    with os.fdopen(ours) as stream:
        oid, task_id = stream.readline().split()
        assert oid != client.app.thread_oid
        client.tell(success(task_id, 7, date_done=NOW), reply_to=oid)
        assert stream.readline() == "7\n"
    os.waitpid(pid, 0)
    client.answer(mine)
    assert mine.get(timeout=WAIT_S) == 5


def test_given_no_server_when_a_call_is_sent_then_it_fails_as_it_does_with_any_results(tmp_path: Path) -> None:
    client = Client("amqp://localhost:1//", tmp_path, task_publish_retry=False)
    with pytest.raises(OperationalError, match="The broker cannot be reached"):
        client.add.delay(2, 3)
    client.close()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)  # the server, or its connection, can only be asked again


def oid_in_a_thread(app: Celery) -> str:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(app.thread_oid))
    thread.start()
    thread.join(WAIT_S)
    return found[0]

"""Broadcast queues: one for each consumer, none for a producer."""

from __future__ import annotations

import copy
import pickle

from tests.apps import MakeApp

from sedano.app.amqp import specs_of
from sedano.contracts import QueueSpec
from sedano.protocol.queues import Broadcast, Exchange, Queue


class OfKombu(Queue):
    """Stands for a class of another library with the same name."""


OfKombu.__name__ = "Broadcast"


def test_given_a_broadcast_queue_then_it_is_as_kombus() -> None:
    queue = Broadcast("news")

    assert queue.name.startswith("bcast.")
    assert queue.name != Broadcast("news").name
    assert queue.alias == "news"
    assert list(specs_of(queue)) == [QueueSpec(queue.name, "news", "fanout", auto_delete=True)]
    assert Broadcast("news", "mine").name == "mine"
    assert Broadcast("news", "mine", unique=True).name.startswith("mine.")
    assert Broadcast("news", exchange=Exchange("x", "topic"), alias="a", auto_delete=False).alias == "a"
    for again in (copy.copy(queue), pickle.loads(pickle.dumps(queue))):
        assert (type(again), again.name, again.alias, again) == (Broadcast, queue.name, "news", queue)


def test_given_a_broadcast_queue_when_a_call_is_sent_there_then_only_its_exchange_is_declared(make_app: MakeApp) -> None:
    other = OfKombu("bcast.1", Exchange("others", "fanout"), alias="others")
    app = make_app(task_queues=[Queue("celery", Exchange("celery"), "celery"), Broadcast("news"), other])

    for name in ("news", "others"):
        where = app.amqp.address({"queue": name}, "t", (), {}, None)[1]
        assert (where.exchange, where.exchange_type) == (name, "fanout")
        assert where.declare == (QueueSpec("", name, "fanout", auto_delete=name == "news"),)


def test_given_a_worker_told_to_consume_a_broadcast_queue_then_it_consumes_its_own(make_app: MakeApp) -> None:
    app = make_app(task_queues=[Queue("celery", Exchange("celery"), "celery"), Broadcast("news")])
    queues = app.amqp.queues
    queues.select("celery,news")

    assert [spec.name for spec in queues.specs()] == list(queues.consume_from) == ["celery", queues["news"].name]
    queues.deselect("news")
    assert list(queues.consume_from) == ["celery"]

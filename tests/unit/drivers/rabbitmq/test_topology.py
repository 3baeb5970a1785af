"""What we declare, beside what a real Celery 5.7 declared (recordings/amqp-topology.json)."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from sedano.contracts.queues import QueueSpec
from sedano.drivers.rabbitmq.topology import (
    CLASSIC,
    LONGEST_DELAY_S,
    QUORUM,
    Topology,
    broadcast,
    can_delay,
    control_exchanges,
    control_queue,
    delay_bindings,
    delay_levels,
    delayed_key,
    event_queue,
    reply_queue,
    result_queue,
    task_queues,
    undelayed_key,
    worker_direct,
)

RECORDING = pathlib.Path(__file__).parents[3] / "interop" / "recordings" / "amqp-topology.json"
VECTORS = {vector["id"]: vector for vector in json.loads(RECORDING.read_text())["vectors"]}
NODE = "w1@node1"
CELERY = QueueSpec("celery", "celery", "direct", "celery")


def recorded(name: str, part: str) -> list[Any]:
    """Queues, exchanges or bindings of a recording, as `ours` writes them."""
    writers = {"queues": _queue, "exchanges": _exchange, "bindings": _binding}
    return sorted(writers[part](found) for found in VECTORS[name][part])


def _queue(found: dict[str, Any]) -> str:
    arguments = {argument: value for argument, _, value in found["arguments"]}
    # What RabbitMQ says of a quorum queue's exclusive owner is "", which is none.
    return str((found["name"], found["durable"], bool(found["exclusive"]), found["auto_delete"], sorted(arguments.items())))


def _exchange(found: dict[str, Any]) -> str:
    return str((found["name"], found["type"], found["durable"], found["auto_delete"], dict(found["arguments"])))


def _binding(found: dict[str, Any]) -> str:
    kind, arguments = found["destination_kind"], dict(found["arguments"])
    return str((found["source_name"], kind, found["destination_name"], found["routing_key"], arguments))


def ours(topology: Topology, part: str) -> list[str]:
    if part == "queues":
        found = [
            (queue.name, queue.durable, queue.exclusive, queue.auto_delete, sorted(queue.arguments.items()))
            for queue in topology.queues
        ]
        return sorted(map(str, found))
    if part == "exchanges":
        return sorted(
            str((one.name, one.kind, one.durable, one.auto_delete, dict(one.arguments))) for one in topology.exchanges
        )
    return sorted(
        str((one.source, "exchange" if one.to_exchange else "queue", one.destination, one.routing_key, dict(one.arguments)))
        for one in topology.bindings
    )


def uuid_of(name: str) -> str:
    found = [queue["name"] for queue in VECTORS[name]["queues"] if queue["name"].startswith("celeryev.")]
    return str(found[0]).removeprefix("celeryev.")


@pytest.mark.parametrize("part", ["queues", "exchanges", "bindings"])
def test_given_a_default_worker_then_we_declare_what_celery_declared(part: str) -> None:
    whole = (
        task_queues([CELERY])
        + control_exchanges()
        + control_queue(NODE)
        + event_queue(f"celeryev.{uuid_of('default_worker')}", "worker.#")
    )
    assert ours(whole, part) == recorded("default_worker", part)


@pytest.mark.parametrize("part", ["queues", "exchanges", "bindings"])
def test_given_quorum_queues_then_we_declare_the_delay_levels_that_celery_declared(part: str) -> None:
    spec = QueueSpec("celery", "celery", "topic", "celery", arguments={"x-queue-type": "quorum"})
    whole = (
        task_queues([spec])
        + control_exchanges()
        + control_queue(NODE)
        + event_queue(f"celeryev.{uuid_of('quorum_native_delayed')}", "worker.#")
        + delay_levels(CLASSIC)
        + delay_bindings([spec])
    )
    assert ours(whole, part) == recorded("quorum_native_delayed", part)


def test_given_a_result_queue_then_it_is_celerys() -> None:
    name = next(queue["name"] for queue in VECTORS["rpc_backend"]["queues"] if not queue["exclusive"] and queue["auto_delete"])
    assert set(ours(result_queue(name), "queues")) <= set(recorded("rpc_backend", "queues"))
    assert result_queue("oid", None).queues[0].arguments == {}


def test_given_priorities_then_the_argument_is_the_queues() -> None:
    spec = QueueSpec("celery", "celery", "direct", "celery", arguments={"x-max-priority": 10})
    assert set(ours(task_queues([spec]), "queues")) <= set(recorded("max_priority", "queues"))


def test_given_levels_of_quorum_queues_then_no_message_is_lost_between_them() -> None:
    for queue in delay_levels(QUORUM).queues:
        assert queue.arguments["x-queue-type"] == "quorum"
        assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"


@pytest.mark.parametrize("number", [0, 2])
def test_given_a_delay_then_the_key_is_celerys(number: int) -> None:
    keys = [
        message["routing_keys"][0]
        for message in VECTORS["native_delayed_publish"]["messages"]
        if message["kind"].startswith("publish.celery_delayed")
    ]
    assert delayed_key({0: 5, 2: 1000}[number], "celery") == keys[number // 2]


def test_given_a_key_that_has_a_delay_then_it_gets_no_second_one() -> None:
    key = delayed_key(5, "a.b")
    assert delayed_key(LONGEST_DELAY_S, key) == "1." * 28 + "a.b"
    assert undelayed_key(key) == "a.b"
    assert undelayed_key("1.0.a.b") == "1.0.a.b"


@pytest.mark.parametrize("seconds", [0, LONGEST_DELAY_S + 1])
def test_given_a_delay_beyond_the_levels_then_it_is_refused(seconds: int) -> None:
    with pytest.raises(ValueError, match="is not between 1 and"):
        delayed_key(seconds, "celery")


def test_given_a_queue_with_two_bindings_then_it_is_declared_once_and_bound_twice() -> None:
    specs = [QueueSpec("q", "ex", "topic", "a.*"), QueueSpec("q", "ex", "topic", "b.*", binding_arguments={"x": 1})]
    whole = task_queues(specs)
    assert [queue.name for queue in whole.queues] == ["q"]
    assert [exchange.name for exchange in whole.exchanges] == ["ex"]
    assert [(bound.routing_key, bound.arguments) for bound in whole.bindings] == [("a.*", {}), ("b.*", {"x": 1})]


def test_given_a_queue_of_the_default_exchange_then_only_the_queue_is_declared() -> None:
    assert task_queues([QueueSpec("q")]) == Topology(queues=task_queues([QueueSpec("q")]).queues)


def test_given_what_others_declare_then_we_do_not() -> None:
    assert task_queues([QueueSpec("q", "ex", no_declare=True)]) == Topology()
    assert task_queues([QueueSpec("q", "ex", exchange_no_declare=True)]).exchanges == ()
    assert task_queues([QueueSpec("q", "amq.topic", "topic", "k")]).exchanges == ()
    assert task_queues([QueueSpec("q", "amq.topic", "topic", "k")]).bindings[0].source == "amq.topic"


def test_given_a_node_then_its_own_queues_are_named_as_celery_names_them() -> None:
    direct = task_queues([worker_direct(NODE)])
    assert (direct.queues[0].name, direct.exchanges[0].name, direct.bindings[0].routing_key) == ("w1@node1.dq2", "C.dq2", NODE)
    news = task_queues([broadcast("news", "bcast.1")])
    assert (news.exchanges[0].kind, news.queues[0].auto_delete, news.queues[0].durable) == ("fanout", True, True)
    assert reply_queue("oid").bindings[0].routing_key == "oid"
    assert reply_queue("oid").queues[0].name == "oid.reply.celery.pidbox"
    assert control_queue(NODE, "other").queues[0].name == "w1@node1.other.pidbox"


def test_given_direct_exchanges_then_they_have_no_delay() -> None:
    assert not can_delay(CELERY)
    assert not can_delay(QueueSpec("q"))
    assert delay_bindings([CELERY, QueueSpec("q")]) == Topology()


def test_given_a_binding_to_everything_then_its_key_stays() -> None:
    bindings = delay_bindings([QueueSpec("q", "ex", "topic", "#")]).bindings
    assert {bound.routing_key for bound in bindings} == {"#"}

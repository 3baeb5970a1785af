"""RabbitMQ: restarted, standing still, its connections closed and queues deleted, with a memory alarm."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from tests.faults.matrix.shapes import LEASE_S, Fault
from tests.faults.matrix.stage import Stage

from sedano.exceptions import StoreFull

RABBITMQ = ("rabbitmq",)
QUEUE = "celery"


FORGETS_S = 1.0
"""A server that is killed forgets acknowledgements of its last moment: it writes them behind, and AMQP confirms none."""


def restart(stage: Stage) -> None:
    stage.two_nodes()
    for _ in range(stage.size.times(0.2)):
        stage.ends_some()
        killed_at = time.monotonic()
        stage.rabbit.restart()
        stage.hit()
        entries = stage.run.ledger.entries()
        stage.may_repeat.update(
            entry.task_id.partition(":")[0] for entry in entries if entry.event == "start" and entry.at > killed_at - FORGETS_S
        )
        stage.ends(20)


def stand_still(stage: Stage) -> None:
    """It keeps its connections and answers nothing, for longer than a node waits for it. A sender waits longer."""
    stage.two_nodes()
    for _ in range(stage.size.times(0.15)):
        stage.ends_some()
        lost = _lost_connections(stage)
        stage.rabbit.freeze()
        time.sleep(12.0)  # the fault itself
        stage.rabbit.thaw()
        stage.hit(_lost_connections(stage) - lost)
        stage.ends(20)


def _lost_connections(stage: Stage) -> int:
    return sum(node.log().count("Connection to broker lost") for node in stage.run.nodes)


def close_connections(stage: Stage) -> None:
    stage.two_nodes()
    for _ in range(stage.size.times(0.5)):
        stage.ends_some()
        stage.rabbit.close_connections(stage.place.url)
        stage.hit()
        stage.ends(5)


def delete_queue(stage: Stage) -> None:
    """What stood in it is gone with it; what is sent afterwards is not. The nodes declare it again."""
    stage.two_nodes()
    stage.ends(stage.size.calls // 4)
    stage.load.hold()
    stage.rabbit.delete_queue(stage.place.url, QUEUE)
    stage.forgiven.update(stage.run.calls)
    stage.hit()
    stage.load.go_on()
    stage.ends(50)


def memory_alarm(stage: Stage) -> None:
    stage.two_nodes()
    for _ in range(stage.size.times(0.15)):
        stage.ends(50)
        refused = len(stage.load.errors)
        stage.rabbit.set_memory_alarm(True)
        stage.wait_for(partial(_more_than, stage.load.errors, refused), "a sender that is told", 90.0)
        time.sleep(1.5 * LEASE_S)  # the fault itself
        stage.rabbit.set_memory_alarm(False)
        said = stage.load.errors[refused:]
        stage.hit(sum(isinstance(error, StoreFull) for error in said))
        stage.ends(20)


def _more_than(errors: Sequence[object], count: int) -> bool:
    return len(errors) > count


FAULTS = [
    Fault("rabbit-restart", "RabbitMQ is killed and started again", restart, RABBITMQ, setting="lasting"),
    Fault(
        "rabbit-frozen",
        "RabbitMQ stands still for 12 s (SIGSTOP)",
        stand_still,
        RABBITMQ,
        setting="lasting",
        lease_s=18.0,
        heartbeat_s=4,
    ),
    Fault("close-connection", "`rabbitmqctl close_all_connections`", close_connections, RABBITMQ),
    Fault("queue-deleted", "the queue is deleted under its consumers", delete_queue, RABBITMQ, forgives=True, beside=True),
    Fault("memory-alarm", "a memory alarm for longer than a lease", memory_alarm, RABBITMQ, setting="lasting", beside=True),
]

"""Redis: restarted, full, its connections and scripts gone, failed over."""

from __future__ import annotations

import time

from tests.faults.matrix.shapes import LEASE_S, Fault
from tests.faults.matrix.stage import PATIENCE_S, NotHit, Stage

from sedano.exceptions import StoreFull
from sedano.testing.room import redis_without_room

REDIS = ("redis",)


def restart(stage: Stage) -> None:
    stage.two_nodes()
    for _ in range(stage.size.times(0.5)):
        stage.ends_some()
        stage.server.restart()
        stage.hit()
        stage.ends(20)


def kill_clients(stage: Stage) -> None:
    stage.two_nodes()
    for _ in range(2 * stage.size.kills):
        stage.ends_some()
        killed = sum(stage.server.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes") for kind in ("normal", "pubsub"))
        stage.hit(killed)


def out_of_memory(stage: Stage) -> None:
    stage.two_nodes()
    for _ in range(stage.size.times(0.2)):
        stage.ends(50)
        refused = len(stage.load.errors)
        with redis_without_room(stage.place.url):
            time.sleep(1.5 * LEASE_S)  # the fault itself
        said = stage.load.errors[refused:]
        stage.hit(sum(isinstance(error, StoreFull) for error in said))
        stage.ends(20)


def flush_scripts(stage: Stage) -> None:
    stage.two_nodes()
    for _ in range(2 * stage.size.kills):
        stage.ends_some()
        stage.server.command("SCRIPT", "FLUSH")
        stage.hit()


def fail_over(stage: Stage) -> None:
    """Replication is asynchronous: what was accepted, begun or settled just before the master's death may be gone."""
    cluster = stage.place.cluster
    assert cluster is not None
    stage.two_nodes()
    stage.ends(stage.size.calls // 4)
    died_at = time.monotonic()
    cluster.servers[0].kill()
    cluster.wait_for_failover(PATIENCE_S)
    stage.hit()
    stage.ends(50)
    stage.forgiven.update(task_id for at, task_id in list(stage.load.accepted) if died_at - 1.0 < at < died_at + 1.0)
    if not stage.forgiven:
        raise NotHit


FAULTS = [
    Fault("redis-restart", "Redis is killed and started again (appendonly, fsync always)", restart, REDIS, setting="lasting"),
    Fault("client-kill", "`CLIENT KILL` of all connections", kill_clients, REDIS),
    Fault("maxmemory", "`maxmemory` is reached for longer than a lease, and lifted", out_of_memory, REDIS, beside=True),
    Fault("script-flush", "`SCRIPT FLUSH`", flush_scripts, REDIS, beside=True),
    Fault(
        "failover",
        "the master dies, its replica takes over (Sentinel)",
        fail_over,
        REDIS,
        setting="sentinel",
        lease_s=10.0,
        forgives=True,
        beside=True,
    ),
]

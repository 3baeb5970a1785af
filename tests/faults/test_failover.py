"""The Redis master dies under load and its replica takes over, by Sentinel: what is lost is what was not replicated yet."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.faults.arena import arena, judge
from tests.faults.producer import Producer
from tests.faults.sentinels import Cluster
from tests.servers import is_left_out

PATIENCE_S = 90.0

pytestmark = pytest.mark.redis


@pytest.fixture(autouse=True)
def _redis() -> None:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")


@pytest.mark.parametrize("acks", ["early", "late"])
def test_given_a_master_that_dies_when_all_was_replicated_then_nothing_is_lost(acks: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with Cluster(tmp_path) as cluster, arena(tmp_path, cluster.url, cluster.url, acks, lease_s=20.0) as run:
        node = run.node("worker", concurrency=2).wait_ready(PATIENCE_S)
        held = [run.send("hold", str(gate)) for _ in range(2)]
        deadline = time.monotonic() + PATIENCE_S
        while sum(run.ledger.starts().values()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)  # another process writes the file: it can only be read again
        for number in range(100):
            run.send("work", countdown=0.5 if number % 5 == 0 else None)
        cluster.wait_for_replication()
        cluster.servers[0].kill()
        cluster.wait_for_failover()
        gate.touch()  # they end while the new master is in office
        outcomes = run.outcomes(PATIENCE_S)
        verdict = judge(run, outcomes)
        assert (verdict.stuck, verdict.lost, verdict.doubled, verdict.recorded) == ([], [], [], []), run.logs()
        assert set(held) <= outcomes.keys()
        assert node.process.poll() is None


@pytest.mark.parametrize("acks", ["early", "late"])
def test_given_a_master_that_dies_under_load_then_only_what_was_accepted_just_before_may_be_lost(
    acks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Replication is asynchronous: the last moment's calls, and what became of others in it, die with the master."""
    with Cluster(tmp_path) as cluster, arena(tmp_path, cluster.url, cluster.url, acks, lease_s=10.0) as run:
        run.node("one", concurrency=2).wait_ready(PATIENCE_S)
        run.node("two", concurrency=1).wait_ready(PATIENCE_S)
        with Producer(run) as producer:
            producer.wait_for(200, PATIENCE_S)
            died_at = time.monotonic()
            cluster.servers[0].kill()
            cluster.wait_for_failover()
            producer.wait_for(100, PATIENCE_S)
        accepted = {task_id: at for at, task_id in producer.accepted}
        # What the new master does not know stays without an outcome for ever: wait for the others only.
        recent = [task_id for task_id, at in accepted.items() if died_at - 1.0 < at < died_at + 1.0]
        deadline = time.monotonic() + PATIENCE_S
        outcomes = {task_id: run.outcome(task_id, deadline - time.monotonic()) for task_id in accepted if task_id not in recent}
        outcomes |= {task_id: run.outcome(task_id, 0.05) for task_id in recent}
        verdict = judge(run, outcomes)
        hurt = {*verdict.stuck, *verdict.lost, *verdict.doubled, *verdict.recorded}
        with capsys.disabled():
            print(f"\nfailover, {acks} ack: {len(accepted)} accepted, {len(verdict.stuck)} lost with the old master, "
                  f"{len(verdict.doubled)} run twice")  # fmt: skip
        assert hurt <= set(recent), (hurt, run.logs())

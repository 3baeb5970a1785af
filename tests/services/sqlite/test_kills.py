"""kill -9 at any moment loses nothing that was accepted, and doubles nothing that was settled."""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sedano.contracts import Begin, Broker, Delivery, OpenOptions
from sedano.drivers import sqlite
from sedano.testing.contracts.messages import batch, outgoing, result, settlement, task_id_of, task_ids

KILLING_S, PATIENCE_S = 6.0, 150.0  # the killing takes so long, and longer on a busy machine until enough has happened
LEAST_KILLS, LEAST_SETTLED = 21, 101
WORKERS, CALLS = 8, 150


class Fork:
    """A process that runs `action` until it is killed or done. A fork and no new program, so that it is at work at once."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                action()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)

    def kill(self) -> None:
        """Fails when it has ended by itself."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.end() == -signal.SIGKILL

    def end(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def opened(url: str) -> Broker:
    return sqlite.open_broker(url, OpenOptions(results_url=url))


def produce(url: str, log: Path, name: str) -> None:
    """Writes a line to its own file before it asks the store, and one *after* the store has said yes."""
    broker = opened(url)
    lines = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    number = 0
    while True:
        names = [f"{name}:{number + n}" for n in range(1 + number % 4)]
        os.write(lines, "".join(f"? {each}\n" for each in names).encode())
        broker.publish(batch("q", names))
        os.write(lines, "".join(f"! {each}\n" for each in names).encode())
        number += len(names)


def consume(url: str, log: Path, name: str) -> None:
    """Settling a call publishes its name to another queue and stores its result, all in one step. A byte for each that
    the store has said yes to."""
    broker = opened(url)
    tally = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    lease = broker.register(name, "celery@test")
    window: list[Delivery] = []
    stash: list[Delivery] = []
    while True:
        done = [
            settlement(each, result=result(task_id_of(each)), messages_out=(outgoing("out", task_id_of(each)),))
            for each in window
        ]
        begin = [Begin(each.tag, early=True) for each in stash]
        reply = broker.turn(lease, settle=done, begin=begin, reserve=7, queues=["q"])
        assert not reply.refused
        os.write(tally, b"." * len(done))
        window, stash = stash, reply.reserved
        if not (window or stash):
            broker.wait(["q"], 0.5)


def test_given_producers_and_consumers_killed_at_random_when_all_is_over_then_each_accepted_call_is_somewhere_once(
    tmp_path: Path,
) -> None:
    url, log, tally = f"sqlite:///{tmp_path}/store.db", tmp_path / "accepted", tmp_path / "settled"
    tally.touch()
    roles: list[Callable[[str], None]] = [lambda name: produce(url, log, name), lambda name: consume(url, tally, name)] * 2

    def start(role: Callable[[str], None], name: str) -> Fork:
        return Fork(lambda: role(name))

    chance = random.Random(0)
    running = [start(role, f"p{n}") for n, role in enumerate(roles)]
    kills, began_at = 0, time.monotonic()

    def is_enough() -> bool:
        took_s = time.monotonic() - began_at
        happened = kills >= LEAST_KILLS and tally.stat().st_size >= LEAST_SETTLED
        return took_s >= (KILLING_S if happened else PATIENCE_S)

    while not is_enough():
        time.sleep(chance.uniform(0.01, 0.1))  # let the victims get to work; nothing depends on how long
        victim = chance.randrange(len(running))
        running[victim].kill()
        kills += 1
        running[victim] = start(roles[victim], f"p{len(roles) + kills}")
    for process in running:
        process.kill()

    lines = log.read_text().splitlines()
    asked = {line[2:] for line in lines if line.startswith("? ")}
    accepted = {line[2:] for line in lines if line.startswith("! ")}
    broker, results = opened(url), sqlite.open_results(url, OpenOptions())
    waiting = Counter(taken_over(broker) + drained(broker, "q"))
    settled = Counter(drained(broker, "out"))
    everything = waiting + settled
    assert kills >= LEAST_KILLS
    assert len(settled) >= max(LEAST_SETTLED, tally.stat().st_size)
    assert accepted <= set(everything), f"lost: {sorted(accepted - set(everything))[:10]}"
    assert set(everything) <= asked
    assert max(everything.values()) == 1
    # What was settled has its result, and nothing else has one.
    assert all(payload is not None for payload in results.fetch(sorted(settled)))
    assert all(payload is None for payload in results.fetch(sorted(waiting)))
    broker.close()
    results.close()
    assert sorted(os.listdir(tmp_path)) == ["accepted", "settled", "store.db"]


def test_given_eight_processes_that_hammer_one_store_when_done_then_nobody_met_a_locked_database(tmp_path: Path) -> None:
    # Longer than the default: beside other tests the one that holds the lock waits for a processor too.
    url = f"sqlite:///{tmp_path}/store.db?busy_timeout=30"

    def hammer(worker: int) -> None:
        broker = opened(url)
        lease = broker.register(f"worker-{worker}", "celery@test")
        for number in range(CALLS):
            broker.publish(batch("q", [f"{worker}:{number}"]))
            found = broker.turn(lease, reserve=1, queues=["q"]).reserved
            broker.turn(lease, settle=[settlement(each, messages_out=(outgoing("out", task_id_of(each)),)) for each in found])
        broker.retire(lease)
        broker.close()

    workers = [Fork(lambda number=number: hammer(number)) for number in range(WORKERS)]
    assert [worker.end() for worker in workers] == [0] * WORKERS
    broker = opened(url)
    names = drained(broker, "q") + drained(broker, "out")
    assert sorted(names) == sorted(f"{worker}:{number}" for worker in range(WORKERS) for number in range(CALLS))
    broker.close()


def taken_over(broker: Broker) -> list[str]:
    """The calls that dead owners still held."""
    reaper = broker.register("reaper", "celery@test")
    names: list[str] = []
    for record in broker.leases():
        more = record.owner != reaper.owner
        while more:
            taken = broker.take_over(record, reaper, limit=100)
            names += task_ids(taken.deliveries)
            more = taken.more
    return names


def drained(broker: Broker, queue: str) -> list[str]:
    lease = broker.register(f"drain-{queue}", "celery@test")
    names: list[str] = []
    while page := broker.turn(lease, reserve=1000, queues=[queue]).reserved:
        names += task_ids(page)
    return names

"""Several processes on one store: what threads of one process cannot show, and dying by kill -9."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

from sedano.contracts import Standing
from sedano.testing.contracts.harness import LONG_WAIT_S, StoreUnderTest, only_with
from sedano.testing.contracts.messages import batch, task_ids

OPENING = """
import importlib, sys
from sedano.contracts import Begin, OpenOptions
from sedano.testing.contracts.messages import batch, task_ids
driver, url, name = importlib.import_module(sys.argv[1]), sys.argv[2], sys.argv[3]
broker = driver.open_broker(url, OpenOptions())
def say(*words):
    print(*words, flush=True)
"""

PUBLISH = """
broker.publish(batch("q", [name]))
broker.close()
"""

PUBLISH_UNTIL_KILLED = """
for number in range(100_000):
    broker.publish(batch("q", [f"{number}:{place}" for place in range(20)]))
    say(number)
"""

DRAIN = """
lease = broker.register(name, "celery@" + name)
say("ready")
sys.stdin.readline()
while page := broker.turn(lease, reserve=3, queues=["q"]).reserved:
    say(*task_ids(page))
broker.close()
"""

HOLD_UNTIL_KILLED = """
lease = broker.register(name, "celery@" + name)
early, late, _ = broker.turn(lease, reserve=3, queues=["q"]).reserved
broker.turn(lease, begin=[Begin(early.tag, early=True), Begin(late.tag, early=False)])
say("holding")
sys.stdin.readline()
"""


@only_with("many_processes")
class ProcessContract:
    def test_given_three_processes_draining_at_once_when_all_is_taken_then_each_message_was_given_once(
        self, store: StoreUnderTest
    ) -> None:
        names = [f"call-{number}" for number in range(300)]
        store.broker().publish(batch("q", names))
        with (
            outside(store, DRAIN, "one") as one,
            outside(store, DRAIN, "two") as two,
            outside(store, DRAIN, "three") as three,
        ):
            drains = (one, two, three)
            for drain in drains:
                assert read(drain) == "ready"
            received = [drain.communicate("go\n", LONG_WAIT_S)[0].split() for drain in drains]
            assert [drain.returncode for drain in drains] == [0, 0, 0]
        assert sorted(name for part in received for name in part) == sorted(names)
        assert sorted(record.held for record in store.broker().leases()) == sorted(map(len, received))

    def test_given_a_process_killed_with_deliveries_in_hand_when_taken_over_then_each_stands_where_it_stood(
        self, store: StoreUnderTest
    ) -> None:
        reaper = store.slot("reaper")
        reaper.broker.publish(batch("q", "abcd"))
        with outside(store, HOLD_UNTIL_KILLED, "victim") as victim:
            assert read(victim) == "holding"
            victim.kill()
        record = next(record for record in reaper.broker.leases() if record.owner == "victim")
        assert (record.node, record.held) == ("celery@victim", 3)
        taken = reaper.broker.take_over(record, reaper.lease, limit=10)
        stood = dict(zip(task_ids(taken.deliveries), [delivery.standing for delivery in taken.deliveries], strict=True))
        assert stood == {"a": Standing.BEGUN_EARLY, "b": Standing.BEGUN_LATE, "c": Standing.RESERVED}
        assert task_ids(reaper.reserve("q")) == ["d"]

    def test_given_a_process_killed_while_it_publishes_when_the_queue_is_read_then_every_batch_is_whole(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        with outside(store, PUBLISH_UNTIL_KILLED, "publisher") as publisher:
            accepted = [read(publisher) for _ in range(10)]
            publisher.kill()
        received = task_ids(slot.reserve("q", limit=100_000))
        assert len(received) % 20 == 0
        assert received == [f"{number}:{place}" for number in range(len(received) // 20) for place in range(20)]
        assert len(received) // 20 >= len(accepted)


@contextmanager
def outside(store: StoreUnderTest, program: str, name: str) -> Generator[subprocess.Popen[str]]:
    """Run `program` in a process of its own; it is killed if it still runs when the block is left."""
    driver = getattr(store.driver, "__name__", "")
    command = [sys.executable, "-c", OPENING + program, driver, store.url, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read(process: subprocess.Popen[str]) -> str:
    """The next line that it says; "" when it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()

"""RabbitMQ in trouble around a real fleet: two hosts of which one is cut off, a server that is killed or full, connections that
are closed, queues that are deleted, two nodes of one name."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.faults.arena import Arena, arena, check
from tests.faults.producer import Producer
from tests.rabbit import RabbitServer, free_port
from tests.servers import is_left_out

from sedano import states
from sedano.exceptions import StoreFull
from sedano.testing.proxy import Proxy

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(300)]

PATIENCE_S = 60.0
HEARTBEAT_S = 2
ACKS = pytest.mark.parametrize("acks", ["early", "late"])


def results(folder: Path) -> str:
    return f"sqlite:///{folder}/results.db"


def wait_for_starts(run: Arena, task_id: str, count: int = 1) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while run.ledger.starts()[f"{task_id}:0"] < count:
        if time.monotonic() > deadline:
            pytest.fail(f"{task_id} does not start\n{run.logs()}", pytrace=False)
        time.sleep(0.01)  # another process writes the file: it can only be read again


def goes_on(run: Arena, slots: set[int]) -> None:
    """One of these processes runs calls again."""
    moment, deadline = time.monotonic(), time.monotonic() + PATIENCE_S
    while not any(entry.pid in slots and entry.at > moment for entry in run.ledger.entries()):
        assert time.monotonic() < deadline, run.logs()
        for _ in range(10):
            run.send("work", 0.02)
        run.outcome(run.send("work"), PATIENCE_S)


# -- two hosts ---------------------------------------------------------------------------------------------------------


class Island:
    """A network namespace with one line to this host; `cut` takes the line down, so that neither side is told."""

    def __init__(self, number: int) -> None:
        self.name, self._line = f"sedano-{os.getpid()}-{number}", f"sed{os.getpid() % 100000}{number}"
        self.near = f"10.{200 + number}.{os.getpid() % 250}.1"
        self._far = f"10.{200 + number}.{os.getpid() % 250}.2"

    def __enter__(self) -> Island:
        try:
            self._ip("netns", "add", self.name)
            self._ip("link", "add", f"{self._line}a", "type", "veth", "peer", "name", f"{self._line}b", "netns", self.name)
            self._ip("addr", "add", f"{self.near}/24", "dev", f"{self._line}a")
            self._ip("link", "set", f"{self._line}a", "up")
            self._ip("-n", self.name, "addr", "add", f"{self._far}/24", "dev", f"{self._line}b")
            self._ip("-n", self.name, "link", "set", f"{self._line}b", "up")
            self._ip("-n", self.name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError):
            self.__exit__()
            pytest.skip("this user may not make network namespaces")
        return self

    def __exit__(self, *_: object) -> None:
        for words in (("netns", "del", self.name), ("link", "del", f"{self._line}a")):
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                self._ip(*words)

    @property
    def sedano(self) -> list[str]:
        """The command `sedano` on this host."""
        return ["ip", "netns", "exec", self.name, sys.executable, "-m", "sedano"]

    def cut(self) -> None:
        self._ip("link", "set", f"{self._line}a", "down")

    def heal(self) -> None:
        self._ip("link", "set", f"{self._line}a", "up")

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run([shutil.which("ip") or "ip", *words], check=True, capture_output=True)


@pytest.fixture
def island() -> Iterator[Island]:
    if is_left_out("rabbitmq"):
        pytest.skip("SEDANO_WITHOUT names rabbitmq")
    with Island(1) as made:
        yield made


@contextlib.contextmanager
def reachable_from(island: Island) -> Generator[tuple[RabbitServer, int]]:
    """A server with a second listener, at the end of the island's line; its port."""
    port = free_port()
    with RabbitServer(f"listeners.tcp.2 = {island.near}:{port}", "loopback_users = none") as server:
        yield server, port


@ACKS
def test_given_two_hosts_of_which_one_is_cut_off_and_healed_then_nothing_is_lost_and_no_early_call_begins_twice(
    island: Island, tmp_path: Path, acks: str
) -> None:
    gate = tmp_path / "gate"
    with reachable_from(island) as (server, port):
        url = server.new_vhost()
        far_url = url.replace(f"127.0.0.1:{server.port}", f"{island.near}:{port}") + f"?heartbeat={HEARTBEAT_S}"
        with arena(tmp_path, url, results(tmp_path), acks) as run:
            far = run.node("island", concurrency=2, command=island.sedano, FAULT_BROKER=far_url)
            far.wait_ready(PATIENCE_S)
            held = run.send("hold", str(gate))
            wait_for_starts(run, held)
            slots = set(far.slots())
            run.node("mainland", concurrency=2).wait_ready(PATIENCE_S)
            with Producer(run, pause_s=0.01) as producer:
                producer.wait_for(50)
                island.cut()
                producer.wait_for(200)
                far.wait_for_line("Connection to broker lost", PATIENCE_S)
                if acks == "late":
                    wait_for_starts(run, held, 2)
                else:
                    lost = run.outcome(held, PATIENCE_S)
                    assert (lost.state, lost.error) == (states.FAILURE, "WorkerLostError")
                gate.touch()
                island.heal()
                producer.wait_for(50)
                goes_on(run, slots)
            check(run)
            assert far.process.poll() is None


# -- the server --------------------------------------------------------------------------------------------------------


@ACKS
def test_given_a_memory_alarm_then_the_sender_is_told_why_and_nothing_is_lost(
    own_rabbit: RabbitServer, tmp_path: Path, acks: str
) -> None:
    with arena(tmp_path, own_rabbit.new_vhost(), results(tmp_path), acks) as run:
        node = run.node("worker", concurrency=2).wait_ready(PATIENCE_S)
        with Producer(run, pause_s=0.01) as producer:
            producer.wait_for(20)
            own_rabbit.set_memory_alarm(True)
            deadline = time.monotonic() + PATIENCE_S
            while not producer.errors and time.monotonic() < deadline:
                time.sleep(0.02)  # another thread is told
            own_rabbit.set_memory_alarm(False)
            producer.wait_for(50)
        assert isinstance(producer.errors[0], StoreFull)
        assert "low on memory" in str(producer.errors[0])
        goes_on(run, set(node.slots()))
        check(run)


@pytest.mark.long
@ACKS
def test_given_a_server_that_is_killed_and_started_again_then_nothing_is_lost(
    own_rabbit: RabbitServer, tmp_path: Path, acks: str
) -> None:
    with arena(tmp_path, own_rabbit.new_vhost(), results(tmp_path), acks) as run:
        node = run.node("worker", concurrency=2).wait_ready(PATIENCE_S)
        for _ in range(200):
            run.send("work", 0.02)
        wait_for_starts(run, next(iter(run.calls)))
        own_rabbit.restart()
        goes_on(run, set(node.slots()))
        outcomes = run.outcomes()
        assert {outcome.state for outcome in outcomes.values()} == {states.SUCCESS}, run.logs()


# -- connections and queues --------------------------------------------------------------------------------------------


@ACKS
def test_given_connections_that_an_operator_closes_under_load_then_nothing_is_lost_or_doubled(
    rabbit_server: RabbitServer, rabbit_url: str, tmp_path: Path, acks: str
) -> None:
    with arena(tmp_path, rabbit_url, results(tmp_path), acks) as run:
        run.node("one", concurrency=2)
        run.node("two", concurrency=1)
        with Producer(run) as producer:
            for _ in range(4):
                producer.wait_for(40)
                rabbit_server.close_connections(rabbit_url)
            producer.wait_for(40)
        check(run)


@ACKS
def test_given_a_queue_that_is_deleted_under_its_consumer_then_it_is_declared_and_consumed_again(
    rabbit_server: RabbitServer, rabbit_url: str, tmp_path: Path, acks: str
) -> None:
    with arena(tmp_path, rabbit_url, results(tmp_path), acks) as run:
        node = run.node("worker", concurrency=2).wait_ready(PATIENCE_S)
        run.send("work")
        check(run)
        processes = node.processes()
        for _ in range(3):
            rabbit_server.delete_queue(rabbit_url, "celery")
            for _ in range(20):
                run.send("work")
            check(run)
        node.wait_for_line("The queue celery is gone from the server", PATIENCE_S)
        assert node.processes() == processes


@pytest.mark.parametrize("direction", ["down", "up"])
def test_given_a_connection_that_breaks_in_the_middle_of_what_is_said_then_no_early_call_begins_twice(
    rabbit_server: RabbitServer, rabbit_url: str, tmp_path: Path, direction: str
) -> None:
    with (
        Proxy(("127.0.0.1", rabbit_server.port)) as proxy,
        arena(tmp_path, rabbit_url, results(tmp_path), "early") as run,
    ):
        behind = rabbit_url.replace(f":{rabbit_server.port}/", f":{proxy.port}/")
        node = run.node("worker", concurrency=2, FAULT_BROKER=behind).wait_ready(PATIENCE_S)
        with Producer(run, pause_s=0.004) as producer:
            for number in range(8):
                producer.wait_for(10)
                before = proxy.traffic.connections
                proxy.cut_after(1 + 97 * number, "down" if direction == "down" else "up")
                deadline = time.monotonic() + PATIENCE_S
                while proxy.traffic.connections == before and time.monotonic() < deadline:
                    time.sleep(0.01)  # the cut comes when so much has been said, and then the node connects again
                assert proxy.traffic.connections > before, node.log()
        check(run)


def test_given_two_nodes_of_one_name_then_both_run_calls_and_none_is_lost_or_doubled(rabbit_url: str, tmp_path: Path) -> None:
    with arena(tmp_path, rabbit_url, results(tmp_path), "early") as run:
        for _ in range(2):
            run.node("same", concurrency=1).wait_ready(PATIENCE_S)
        for _ in range(200):
            run.send("work", 0.005)
        check(run)
        assert len({entry.pid for entry in run.ledger.entries()}) == 2

"""The worker's HTTP port: probes and metrics of real nodes, and what garbage does to it."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.services.worker.conftest import Make
from tests.services.worker.nodes import NodeWorld
from tests.services.worker.prometheus import Read, read

from sedano.testing.node import Node
from sedano.worker.httpport import MOST_BYTES, MOST_CONNECTIONS, PATIENCE_S

Address = str | tuple[str, int]


def talk(address: Address, data: bytes, *, timeout_s: float = 20.0) -> bytes:
    """Send `data`, and read to the end."""
    with connected(address, timeout_s) as stream:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stream.sendall(data)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while more := stream.recv(65536):
                received += more
        return received


def connected(address: Address, timeout_s: float = 20.0) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    stream.settimeout(timeout_s)
    try:
        stream.connect(address)
    except OSError:
        stream.close()
        raise
    return stream


def get(address: Address, path: str, method: str = "GET") -> tuple[int, str]:
    """(status, body)"""
    answer = talk(address, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body.decode()


def status(address: Address, path: str) -> int:
    return get(address, path)[0]


def scrape(address: Address) -> Read:
    code, text = get(address, "/metrics")
    assert code == 200
    return read(text)


def address_of(node: Node) -> Address:
    line = node.wait_for_line(r"answering /livez, /readyz and /metrics at")
    where = line.rpartition(" ")[2]
    if where.startswith("unix:"):
        return where.removeprefix("unix:")
    host, _, port = where.removeprefix("http://").rpartition(":")
    return host, int(port)


def started(world: NodeWorld, *, http: str = "127.0.0.1:0", name: str = "w1@test", **options: Any) -> tuple[Node, Address]:
    node = world.ready(name, options=["--http", http, *options.pop("options", [])], **options)
    return node, address_of(node)


@pytest.fixture
def port(world: NodeWorld) -> Iterator[Address]:
    _, address = started(world, concurrency=1)
    yield address
    assert status(address, "/livez") == 200  # whatever was done to it


def test_given_calls_that_end_in_each_way_then_the_metrics_count_them_by_task(make_world: Make, store: str):
    del store
    world = make_world()
    world.write_tasks("""
@app.task(bind=True, max_retries=1)
def again(self):
    raise self.retry(countdown=0)

@app.task
def fail():
    raise ValueError("no")
""")
    _, address = started(world, concurrency=2)
    assert get(address, "/livez") == (200, "ok\n")
    assert get(address, "/readyz") == (200, "ready\n")
    for _ in range(5):
        assert world.get("add", 2, 3) == 5
    for name in ("fail", "again"):
        with pytest.raises(Exception, match=r"no|retry|Retry|retries"):
            world.get(name)
    assert world.get("add", 1, 1, countdown=0.3) == 2

    def counted() -> Read | None:
        found = scrape(address)
        return found if found.get("sedano_calls_total", task="tasks.again", outcome="failure") else None

    found = world.until(counted)
    assert found.value("sedano_calls_total", task="tasks.add", outcome="success") == 6
    assert found.value("sedano_calls_total", task="tasks.fail", outcome="failure") == 1
    assert found.value("sedano_calls_total", task="tasks.again", outcome="retry") == 1
    assert found.value("sedano_call_runtime_seconds_count", task="tasks.add") == 6
    assert 0 < found.value("sedano_call_runtime_seconds_sum", task="tasks.add") < 5
    assert found.value("sedano_call_lateness_seconds_count", task="tasks.add") == 1
    assert found.value("sedano_slots", state="idle") + found.value("sedano_slots", state="busy") == 2
    assert found.value("sedano_slot_starts_total") == 2
    assert found.value("sedano_ready") == 1
    assert found.value("sedano_loop_lag_seconds") < 5
    assert found.value("sedano_lease_age_seconds") < 5
    assert dict(next(iter(found.all("sedano_build_info"))))["node"] == "w1@test"


def test_given_work_that_waits_then_the_queue_is_counted_and_more_workers_are_wanted(make_world: Make, store: str):
    world = make_world()
    _, address = started(world, concurrency=2)
    world.send("add", 1, 1, countdown=3600)
    world.until(lambda: scrape(address).get("sedano_queue_messages", queue="celery", state="delayed") == 1)
    held = [world.send("hold", "gate") for _ in range(9)]
    world.until_started(held[0])

    def told() -> Read | None:
        found = scrape(address)
        return found if found.get("sedano_workers_wanted") == 5 and found.value("sedano_calls_running") == 2 else None

    found = world.until(told)
    assert (
        sum(found.value("sedano_queue_messages", queue="celery", state=state) for state in ("ready", "reserved", "begun")) == 9
    )
    if store == "sqlite":
        assert 0 <= found.value("sedano_queue_oldest_seconds", queue="celery") < 60
    world.open_gate("gate")
    world.until(lambda: scrape(address).value("sedano_workers_wanted") == 0)


def test_given_a_slot_that_is_killed_then_the_next_one_counts_on_and_the_death_is_told(world: NodeWorld):
    _, address = started(world, concurrency=1)
    assert world.get("add", 1, 1) == 2
    world.send("kill_self", int(signal.SIGKILL))
    world.until(lambda: scrape(address).value("sedano_slot_deaths_total", cause="killed") == 1)
    assert world.get("add", 1, 1) == 2
    world.until(lambda: scrape(address).get("sedano_calls_total", task="tasks.add", outcome="success") == 2)
    found = scrape(address)
    assert found.value("sedano_slot_starts_total") == 2
    assert found.value("sedano_slot_deaths_total", cause="time_limit") == 0


def test_given_orders_of_an_operator_then_the_size_and_the_queues_are_those_of_now(world: NodeWorld):
    _, address = started(world, concurrency=1)
    assert scrape(address).value("sedano_slots_most") == 1
    world.app.control.pool_grow(1, reply=True)
    world.app.control.add_consumer("mail", reply=True)
    world.until(lambda: scrape(address).value("sedano_slots_most") == 2)
    world.until(lambda: scrape(address).get("sedano_queue_messages", queue="mail", state="ready") == 0)


@pytest.mark.parametrize("pool", ["threads", "asyncio", "solo"])
def test_given_a_pool_of_one_process_then_its_calls_are_counted_all_the_same(world: NodeWorld, pool: str):
    _, address = started(world, concurrency=3, options=["-P", pool])
    for _ in range(4):
        assert world.get("add", 2, 3) == 5
    world.until(lambda: scrape(address).get("sedano_calls_total", task="tasks.add", outcome="success") == 4)
    found = scrape(address)
    assert found.value("sedano_call_runtime_seconds_count", task="tasks.add") == 4
    assert found.value("sedano_slots_most") == (1 if pool == "solo" else 3)


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_given_a_broker_that_goes_and_comes_back_then_the_node_is_unready_and_ready_again_and_alive_all_the_time(
    make_world: Make, pool: str
):
    world = make_world(worker_lease_time=6.0)
    node, address = started(world, concurrency=2, options=["-P", pool])
    world.until(lambda: scrape(address).get("sedano_store_up") == 1)
    world.server.kill()
    began = time.monotonic()

    def is_unready() -> bool:
        assert status(address, "/livez") == 200
        return status(address, "/readyz") == 503

    world.until(is_unready, 30)
    assert time.monotonic() - began < 16  # slots were asked up to some seconds before
    assert "the broker has not answered" in get(address, "/readyz")[1]
    world.until(lambda: scrape(address).value("sedano_store_up") == 0)
    assert scrape(address).value("sedano_ready") == 0
    world.server.start()
    world.until(lambda: status(address, "/readyz") == 200)
    assert world.get("add", 2, 3) == 5
    assert node.process.poll() is None


def test_given_a_node_without_a_broker_from_the_start_then_it_is_alive_and_not_ready(world: NodeWorld):
    world.server.kill()
    try:
        node = world.node("w1@test", concurrency=1, options=["--http", "127.0.0.1:0"])
        address = address_of(node)
        assert status(address, "/livez") == 200
        code, text = get(address, "/readyz")
        assert code == 503
        assert "no connection" in text
        assert scrape(address).value("sedano_ready") == 0
    finally:
        world.server.start()
    node.wait_ready()
    world.until(lambda: status(address, "/readyz") == 200)


def test_given_a_node_that_drains_then_it_is_alive_and_not_ready_until_it_is_gone(world: NodeWorld):
    node, address = started(world, concurrency=1)
    world.until_started(world.send("hold", "gate"))
    node.signal(signal.SIGTERM)
    world.until(lambda: status(address, "/readyz") == 503)
    assert "stopping" in get(address, "/readyz")[1]
    assert status(address, "/livez") == 200
    world.open_gate("gate")
    assert node.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        connected(address)


def test_given_a_port_that_is_taken_then_the_second_worker_says_so_and_does_not_start(world: NodeWorld):
    _, address = started(world, concurrency=1)
    assert isinstance(address, tuple)
    second = world.node("w2@test", concurrency=1, options=["--http", f"{address[0]}:{address[1]}"])
    assert second.wait() == 2
    assert f"worker_http: cannot listen at 127.0.0.1:{address[1]}: Address already in use" in second.log()
    assert not any("w2@test" in owner for owner in world.leases())
    assert status(address, "/readyz") == 200


@pytest.mark.parametrize("where", ["nowhere", "host:", "1:2:x", "127.0.0.1:99999"])
def test_given_what_is_no_address_then_the_worker_says_what_is_one(world: NodeWorld, where: str):
    node = world.node("w1@test", concurrency=1, options=["--http", where])
    assert node.wait() != 0
    assert "HOST:PORT" in node.log()


def test_given_a_path_then_a_socket_is_there_also_after_a_kill_and_a_living_one_is_not_taken(world: NodeWorld, tmp_path: Path):
    path = tmp_path / "n.sock"
    node, address = started(world, http=f"unix:{tmp_path}/%n.sock", name="n@test", concurrency=1)
    assert address == str(path)
    assert status(address, "/readyz") == 200
    second = world.node("n2@test", concurrency=1, options=["--http", f"unix:{path}"])
    assert second.wait() == 2
    assert "Address already in use" in second.log()
    node.kill()
    assert path.exists()
    third, _ = started(world, http=f"unix:{path}", name="n3@test", concurrency=1)
    assert status(str(path), "/readyz") == 200
    assert third.stop() == 0
    assert not path.exists()


@pytest.mark.setting("worker_http")
def test_given_a_setting_then_it_is_as_the_option_and_without_a_host_on_loopback(make_world: Make):
    world = make_world(worker_http="0")
    node = world.ready("w1@test", concurrency=1)
    address = address_of(node)
    assert address[0] == "127.0.0.1"
    assert status(address, "/readyz") == 200


def test_given_the_port_then_sedano_health_asks_there_without_any_broker(world: NodeWorld, tmp_path: Path):
    path = tmp_path / "w.sock"
    node, _ = started(world, http=str(path), concurrency=1)

    def ask(*words: str, where: str = f"unix:{path}") -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "sedano", "-b", "redis://127.0.0.1:1", "health", "--http", where, "--json", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, json.loads(done.stdout or "{}")

    assert ask() == (0, {"node": f"unix:{path}", "ready": True, "reason": "ready"})
    assert ask("--live")[0] == 0
    world.until_started(world.send("hold", "gate"))
    node.signal(signal.SIGTERM)
    world.until(lambda: ask()[0] == 1)
    assert ask()[1]["reason"] == "it is stopping, and takes nothing more"
    assert ask("--live")[0] == 0
    node.signal(signal.SIGSTOP)
    try:
        assert ask("-t", "0.5") == (69, {"node": f"unix:{path}", "ready": None, "reason": "timed out"})
    finally:
        node.signal(signal.SIGCONT)
    world.open_gate("gate")
    node.wait()
    assert ask("--live")[0] == 69
    assert ask(where="nowhere")[0] == 2


# -- garbage ------------------------------------------------------------------------------------------------------------


def test_given_requests_that_are_none_then_each_is_refused_in_its_way(port: Address):
    assert get(port, "/nothing")[0] == 404
    assert get(port, "/readyz?verbose=1")[0] == 200
    for method in ("POST", "DELETE", "OPTIONS", "BREW"):
        assert get(port, "/readyz", method)[0] == 405
    head = talk(port, b"HEAD /readyz HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"\r\n\r\n")
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / SPDY/3\r\n\r\n",
        b"\r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
    ):
        assert talk(port, data).startswith(b"HTTP/1.1 400 "), data
    assert get(port, "/readyz\xff".encode("latin-1").decode("latin-1"))[0] == 404


def test_given_a_header_of_a_megabyte_then_it_is_refused_without_being_kept(port: Address):
    data = b"GET /readyz HTTP/1.1\r\nX: " + b"x" * 1_000_000
    answer = talk(port, data)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    answer = talk(port, b"GET /readyz HTTP/1.1\r\nX: " + b"x" * MOST_BYTES)
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_given_clients_that_never_end_their_request_then_others_are_served_and_they_are_hung_up_on(port: Address):
    began = time.monotonic()
    slow = [connected(port) for _ in range(MOST_CONNECTIONS + 10)]
    for stream in slow:
        stream.send(b"GET /readyz HT")
    assert status(port, "/readyz") == 200  # as soon as the first of them have lost their places
    assert time.monotonic() - began < 3 * PATIENCE_S
    for stream in slow[:MOST_CONNECTIONS]:
        assert stream.recv(1) == b""
        stream.close()
    for stream in slow[MOST_CONNECTIONS:]:
        stream.close()


def test_given_a_client_that_leaves_or_does_not_read_then_nothing_is_left_of_it(port: Address):
    for _ in range(200):
        stream = connected(port)
        stream.send(b"GET /metrics HTTP/1.1\r\n\r\n")
        stream.close()
    assert status(port, "/metrics") == 200

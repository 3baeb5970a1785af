"""A node whose broker has several servers: one is killed, or stopped, and comes back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.servers import RedisServer, is_left_out
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

Pair = tuple[RedisServer, RedisServer]


@pytest.fixture
def servers() -> Iterator[Pair]:
    """Two servers that know nothing of each other; what they hold survives their death."""
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    pair = RedisServer("--appendonly", "yes", "--appendfsync", "always"), RedisServer()
    for server in pair:
        server.start()
    yield pair
    for server in pair:
        server.close()


@pytest.fixture
def results(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def world(servers: Pair, results: RedisServer, tmp_path: Path) -> Iterator[NodeWorld]:
    """An app on both servers, with results on a third."""
    urls = ";".join(server.url for server in servers)
    world = NodeWorld(urls, tmp_path, servers[0], result_backend=results.url)
    yield world
    world.close()


def shut_down(server: RedisServer) -> None:
    with pytest.raises(Exception, match="no answer"):
        server.command("SHUTDOWN")
    server.kill()


def depth(world: NodeWorld, place: int) -> int:
    with closing(world.app.stores.at(place).open_broker()) as broker:
        return sum(each.ready for each in broker.depth(["celery"]))


def leases_at(world: NodeWorld, place: int) -> list[str]:
    with closing(world.app.stores.at(place).open_broker()) as broker:
        return [record.owner for record in broker.leases()]


@pytest.mark.parametrize(("pool", "end"), [("prefork", RedisServer.kill), ("threads", shut_down)])
def test_given_a_server_that_dies_with_calls_in_hand_then_work_goes_on_elsewhere_and_each_call_runs_once(
    world: NodeWorld, servers: Pair, pool: str, end: Callable[[RedisServer], None]
) -> None:
    first, second = servers
    node = world.ready(options=["-P", pool], concurrency=3)
    early, late = world.send("hold", "gate"), world.send("hold_late", "gate")
    world.until_started(early)
    world.until_started(late)
    end(first)
    assert [world.get("add", number, 1) for number in range(5)] == [1, 2, 3, 4, 5]
    node.wait_for_line(f"w1@test goes on with the broker {re.escape(second.url)}, instead of")
    world.open_gate("gate")
    world.until(lambda: len(world.ledger.ends()) == 2)
    assert (early.state, late.state) == ("PENDING", "PENDING")  # their server alone can say that they are over
    first.start()
    assert early.get(timeout=PATIENCE_S) == "gate"
    assert late.get(timeout=PATIENCE_S) is False
    assert set(world.ledger.starts().values()) == {1}
    assert world.get("add", 4, 4) == 8
    node.stop()
    assert [leases_at(world, place) for place in (0, 1)] == [[], []]
    assert [depth(world, place) for place in (0, 1)] == [0, 0]


def test_given_calls_left_on_a_server_when_it_is_back_then_they_run(world: NodeWorld, servers: Pair) -> None:
    """They wait in its queue, in its schedule, and in the hands of a node that died with the server."""
    first, _ = servers
    dead = world.ready("w2@test", concurrency=1)
    lost = world.send("hold_late", "gate")
    world.until_started(lost)
    dead.kill()
    delayed, waiting = world.send("add", 3, 3, countdown=2), world.send("add", 1, 1)
    first.kill()
    node = world.ready(concurrency=1)
    assert world.get("add", 2, 2) == 4
    world.open_gate("gate")
    first.start()
    assert waiting.get(timeout=PATIENCE_S) == 2
    assert delayed.get(timeout=PATIENCE_S) == 6
    assert lost.get(timeout=PATIENCE_S) is True
    node.wait_for_line(f"goes on with the broker {re.escape(first.url)}, instead of")


def test_given_a_solo_node_and_a_store_of_another_kind_then_it_goes_on_there(tmp_path: Path, servers: Pair) -> None:
    first, _ = servers
    world = NodeWorld(
        f"{first.url};sqlite:///{tmp_path}/second.db", tmp_path, first, result_backend=f"sqlite:///{tmp_path}/r.db"
    )
    try:
        node = world.ready(options=["-P", "solo"])
        assert world.get("add", 1, 1) == 2
        first.kill()
        assert world.get("add", 2, 1) == 3
        assert world.app.control.ping(timeout=PATIENCE_S, limit=1) == [{"w1@test": {"ok": "pong"}}]
        node.stop()
    finally:
        world.close()


def test_given_two_urls_of_one_store_when_one_fails_then_what_ran_is_settled_by_the_other(
    servers: Pair, results: RedisServer, tmp_path: Path
) -> None:
    server, _ = servers
    other_name = server.folder / "other.sock"
    other_name.symlink_to(server.socket)
    world = NodeWorld(f"redis+socket://{other_name};{server.url}", tmp_path, server, result_backend=results.url)
    try:
        node = world.ready(concurrency=2)
        early, late = world.send("hold", "gate"), world.send("hold_late", "gate")
        world.until_started(early)
        world.until_started(late)
        other_name.unlink()
        server.command("CLIENT", "KILL", "TYPE", "normal")
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        node.wait_for_line("that is the same store")
        world.open_gate("gate")
        assert (early.get(timeout=PATIENCE_S), late.get(timeout=PATIENCE_S)) == ("gate", False)
        assert world.get("add", 1, 1) == 2
        assert set(world.ledger.starts().values()) == {1}
        node.stop()
        assert leases_at(world, 1) == []
    finally:
        world.close()


def test_given_a_first_server_that_is_away_when_a_node_starts_then_it_begins_on_the_second(
    world: NodeWorld, servers: Pair
) -> None:
    servers[0].kill()
    world.settings["broker_connection_retry_on_startup"] = False
    world.write_tasks()
    world.ready()
    assert world.get("add", 1, 1) == 2


def test_given_no_server_at_all_when_a_node_starts_that_is_not_to_wait_then_it_gives_up(
    world: NodeWorld, servers: Pair
) -> None:
    for server in servers:
        server.kill()
    world.settings["broker_connection_retry_on_startup"] = False
    world.write_tasks()
    node = world.node()
    assert node.process.wait(PATIENCE_S) == 1
    assert "gives up: its broker cannot be reached" in node.log()


@pytest.mark.long
@pytest.mark.parametrize("acks", ["early", "late"])
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_given_a_server_that_dies_under_load_and_comes_back_then_each_of_its_calls_runs_once(
    world: NodeWorld, servers: Pair, pool: str, acks: str
) -> None:
    world.write_tasks(
        f"@app.task(bind=True, acks_late={acks == 'late'})\n"
        "def tick(self):\n"
        "    ledger.start(self.request.id)\n"
        "    time.sleep(0.002)\n"
        "    ledger.end(self.request.id)\n"
    )
    results = [world.send("tick") for _ in range(2000)]
    for name in ("w1@test", "w2@test"):
        world.ready(name, options=["-P", pool])
    world.until(lambda: len(world.ledger.ends()) > 300)
    servers[0].kill()
    assert world.get("add", 1, 1) == 2
    results += [world.send("tick") for _ in range(200)]
    servers[0].start()
    for result in results:
        result.get(timeout=PATIENCE_S)
    assert set(world.ledger.starts().values()) == set(world.ledger.ends().values()) == {1}
    assert len(world.ledger.ends()) == len(results)

"""A server that goes away, restarts, is full, refuses us or is not ours to write to."""

from __future__ import annotations

import select
import socket
import threading

import pytest
from tests.servers import RedisServer
from tests.services.redis.world import QUEUE, World

from sedano.contracts import Begin, Delay, OpenOptions, Outgoing, QueueSpec
from sedano.drivers import redis
from sedano.drivers.redis.address import address_of
from sedano.drivers.redis.greeting import greet
from sedano.drivers.redis.wire import ErrorReply
from sedano.exceptions import BrokerUnavailable, ImproperlyConfigured, OperationalError, ResultsUnavailable, StoreFull
from sedano.protocol.message import Message
from sedano.testing.contracts.messages import batch, dead, result, settlement

pytestmark = pytest.mark.redis


def one(task_id: str = "a") -> list[Outgoing]:
    return batch(QUEUE, [task_id])


def test_given_no_server_when_first_used_then_unavailable_says_where_without_the_password() -> None:
    broker = redis.open_broker("redis://:hunter2@localhost:1/0", OpenOptions(connect_timeout_s=1.0))
    with pytest.raises(BrokerUnavailable, match="localhost:1") as caught:
        broker.publish(one())
    assert "hunter2" not in str(caught.value)
    results = redis.open_results("redis+socket:///nowhere/redis.sock", OpenOptions())
    with pytest.raises(ResultsUnavailable, match=r"/nowhere/redis\.sock"):
        results.fetch(["a"])


def test_given_a_killed_connection_when_used_then_unavailable_and_the_lease_lives_on(world: World) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(one())
    world.command("CLIENT", "KILL", "TYPE", "normal")
    with pytest.raises(BrokerUnavailable):
        broker.turn(lease, reserve=1, queues=[QUEUE])
    broker.reconnect()
    assert len(broker.turn(lease, reserve=1, queues=[QUEUE]).reserved) == 1


def test_given_a_killed_connection_when_waiting_then_unavailable_at_once(world: World) -> None:
    broker = world.broker()
    broker.wait([QUEUE], 0.0)
    killer = threading.Timer(0.1, lambda: world.command("CLIENT", "KILL", "TYPE", "normal"))
    killer.start()
    with pytest.raises(BrokerUnavailable):
        broker.wait([QUEUE], 20.0)
    killer.join()


def test_given_the_server_forgot_its_scripts_when_used_then_they_are_sent_again(world: World) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    broker.turn(lease)
    world.command("SCRIPT", "FLUSH")
    broker.publish(one())
    assert len(broker.turn(lease, reserve=1, queues=[QUEUE]).reserved) == 1


def test_given_a_lost_answer_when_the_turn_is_repeated_then_nothing_is_lost_or_doubled(world: World) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, "ab"))
    first, second = broker.turn(lease, reserve=2, queues=[QUEUE]).reserved
    broker.turn(lease, begin=[Begin(first.tag, True)])
    wanted = {"settle": [settlement(first, result=result("a"))], "begin": [Begin(second.tag, True)]}
    broker.turn(lease, **wanted)
    broker.reconnect()
    again = broker.turn(lease, **wanted)
    assert (again.refused, again.begun) == ([first.tag], [second.tag])


def test_given_a_server_that_needs_longer_than_the_limit_when_the_turn_is_repeated_then_it_is_waited_for(world: World) -> None:
    broker = world.broker(socket_timeout_s=2.0)
    lease = world.lease(broker)
    broker.publish(one())
    world.command("CLIENT", "PAUSE", 3000, "ALL")
    with pytest.raises(BrokerUnavailable, match="in time"):
        broker.turn(lease, reserve=1, queues=[QUEUE])
    broker.reconnect()
    broker.release(lease, None)
    world.command("CLIENT", "PAUSE", 3000, "ALL")
    assert len(broker.turn(lease, reserve=1, queues=[QUEUE]).reserved) == 1
    world.command("CLIENT", "PAUSE", 3000, "ALL")
    with pytest.raises(BrokerUnavailable, match="in time"):
        broker.renew([lease])  # what is small is not waited for: it tells whether the server is there


def test_given_a_full_server_when_publishing_then_store_full_and_nothing_is_stored(world: World) -> None:
    broker = world.broker()
    broker.publish(one("before"))
    world.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreFull, match="maxmemory"):
        broker.publish(one())
    with pytest.raises(StoreFull):
        broker.publish([*one(), *batch("other", "b")])
    assert world.command("LLEN", QUEUE) == 1
    assert world.command("LLEN", "other") == 0


def test_given_a_full_server_when_settling_with_a_large_result_then_store_full_and_the_call_can_be_settled_without(
    world: World,
) -> None:
    broker = world.broker(results_db=5)
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, "ab"))
    first, second = broker.turn(lease, reserve=2, queues=[QUEUE]).reserved
    broker.turn(lease, begin=[Begin(first.tag, True), Begin(second.tag, False)])
    world.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreFull):
        broker.turn(lease, settle=[settlement(second), settlement(first, result=result("a", b"x" * 10_000))])
    assert broker.depth([QUEUE])[0].begun == 2
    assert broker.turn(lease, settle=[settlement(first), settlement(second)]).refused == []
    assert world.unacked() == {}


def test_given_a_full_server_when_results_are_smaller_than_their_messages_then_they_are_stored(world: World) -> None:
    broker = world.broker(results_db=5)
    lease = world.lease(broker)
    broker.publish(batch(QUEUE, "abc"))
    a, b, c = broker.turn(lease, reserve=3, queues=[QUEUE]).reserved
    broker.turn(lease, begin=[Begin(a.tag, True), Begin(b.tag, False), Begin(c.tag, False)])
    world.command("CONFIG", "SET", "maxmemory", "1")
    assert broker.turn(lease, settle=[settlement(a, result=result("a")), settlement(b, result=result("b"))]).refused == []
    assert world.results(db=5).fetch(["a", "b"]) != [None, None]
    with pytest.raises(StoreFull):
        broker.turn(lease, settle=[dead(c, 0.0)])
    assert broker.depth([QUEUE])[0].begun == 1


def test_given_a_full_server_when_a_worker_starts_then_it_can_declare_its_queues(world: World) -> None:
    broker = world.broker()
    world.command("CONFIG", "SET", "maxmemory", "1")
    broker.declare([QueueSpec("new", "new", "direct", "new")])
    assert "new" in broker.queues()


def test_given_a_full_server_when_working_then_everything_but_growing_goes_on(world: World) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(one())
    world.command("CONFIG", "SET", "maxmemory", "1")
    (delivery,) = broker.turn(lease, reserve=5, queues=[QUEUE]).reserved
    assert broker.turn(lease, begin=[Begin(delivery.tag, True)]).begun == [delivery.tag]
    assert broker.renew([lease]) == []
    assert broker.unbegin(lease, [delivery.tag]) == 1
    reaper = world.lease(broker)
    assert len(broker.turn(reaper, reserve=1, queues=[QUEUE], delay=[]).reserved) == 1
    (record,) = [record for record in broker.leases() if record.owner == reaper.owner]
    other = world.lease(broker)
    (taken,) = broker.take_over(record, other, limit=10).deliveries
    assert broker.turn(other, delay=[Delay(taken.tag, 5.0)]).refused == []
    assert broker.promote([QUEUE], 6.0) == (1, None)


def test_given_a_replica_when_written_to_then_unavailable(world: World) -> None:
    broker = world.broker()
    lease = world.lease(broker)
    broker.publish(one())
    world.command("REPLICAOF", "localhost", "1")
    try:
        with pytest.raises(BrokerUnavailable, match="does not serve"):
            broker.publish(one())
        with pytest.raises(BrokerUnavailable, match="does not serve"):
            broker.turn(lease, reserve=1, queues=[QUEUE])
    finally:
        world.command("REPLICAOF", "NO", "ONE")


def test_given_a_queue_name_that_is_no_list_when_published_to_then_the_error_is_about_the_command(world: World) -> None:
    world.command("SET", QUEUE, "text")
    broker = world.broker()
    with pytest.raises(OperationalError, match="WRONGTYPE") as caught:
        broker.publish(one())
    assert type(caught.value) is OperationalError
    broker.publish(batch("other", "a"))


def test_given_a_server_with_accounts_when_the_password_is_wrong_then_unavailable_and_right_then_it_works() -> None:
    with RedisServer() as server:
        server.command("CONFIG", "SET", "requirepass", "hunter2")
        url = f"redis+socket://{{}}{server.socket}"
        for account in ("", ":wrong@"):
            broker = redis.open_broker(url.format(account), OpenOptions())
            with pytest.raises(BrokerUnavailable):
                broker.publish(one())
        for account in (":hunter2@", "default:hunter2@"):
            broker = redis.open_broker(url.format(account), OpenOptions())
            broker.publish(one())
            broker.close()


def test_given_a_credential_provider_when_connecting_then_it_is_asked() -> None:
    class Provider:
        def get_credentials(self) -> tuple[str, str]:
            return "default", "hunter2"

    with RedisServer() as server:
        server.command("CONFIG", "SET", "requirepass", "hunter2")
        broker = redis.open_broker(server.url, OpenOptions(transport={"credential_provider": Provider()}))
        broker.publish(one())
        broker.close()


def test_given_a_restarted_server_when_used_then_unavailable_once_and_then_it_works() -> None:
    with RedisServer() as server:
        broker = redis.open_broker(server.url, OpenOptions())
        broker.publish(one())
        server.restart()
        with pytest.raises(BrokerUnavailable):
            broker.publish(one())
        broker.publish(one())
        broker.close()


def test_given_a_server_that_never_answers_when_asked_then_unavailable_after_the_socket_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("localhost", 0))
        silent.listen()
        url = f"redis://localhost:{silent.getsockname()[1]}"
        broker = redis.open_broker(url, OpenOptions(socket_timeout_s=0.2))
        with pytest.raises(BrokerUnavailable, match="in time"):
            broker.publish(one())
        broker.close()


def test_given_something_else_than_redis_when_connected_then_unavailable() -> None:
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        broker = redis.open_broker(f"redis://localhost:{other.getsockname()[1]}", OpenOptions())
        with pytest.raises(BrokerUnavailable):
            broker.publish(one())
        thread.join()


def test_given_an_interrupted_conversation_when_used_again_then_answers_belong_to_their_questions(world: World) -> None:
    """An exception from a signal handler in the middle of a command must not shift the answers of all that follow."""

    class Interrupt(BaseException):
        pass

    broker = world.broker()
    broker.queues()
    connection = broker._connection  # pyright: ignore[reportPrivateUsage]
    read = connection._read  # pyright: ignore[reportPrivateUsage]

    def interrupted() -> object:
        connection._read = read  # type: ignore[method-assign]
        raise Interrupt

    connection._read = interrupted  # type: ignore[method-assign]
    with pytest.raises(Interrupt):
        broker.depth([QUEUE])
    assert broker.queues() == []


def test_given_a_closed_broker_when_closed_again_then_nothing_happens(world: World) -> None:
    broker = world.broker()
    broker.publish(one())
    broker.close()
    broker.close()


@pytest.mark.parametrize("version", ["5.0.7", "6.0.16"])
def test_given_an_old_server_when_greeted_then_the_error_says_what_is_needed(version: str) -> None:
    address = address_of("redis://h", {}, OpenOptions())
    with pytest.raises(ImproperlyConfigured, match=f"Redis {version}.*6.2"):
        greet(address, lambda *_: {b"server": b"redis", b"version": version.encode()}, BrokerUnavailable)


def test_given_a_proxy_without_resp3_when_greeted_then_the_old_protocol_is_spoken() -> None:
    address = address_of("redis://:pw@h/4", {"client_name": "me"}, OpenOptions())
    said: list[tuple[object, ...]] = []

    def ask(*words: object) -> object:
        said.append(words)
        if words[0] == "HELLO":
            return ErrorReply("ERR unknown command 'HELLO'")
        return b"# Server\r\nredis_version:6.2.1\r\n" if words[0] == "INFO" else b"OK"

    assert greet(address, ask, BrokerUnavailable) == 2
    assert said[1:] == [("AUTH", "default", "pw"), ("INFO", "server"), ("CLIENT", "SETNAME", "me"), ("SELECT", 4)]


def test_given_pending_data_for_another_fd_when_waiting_then_wait_returns(world: World) -> None:
    broker = world.broker()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"!")
        broker.wait([QUEUE], 20.0, [ours.fileno()])
        assert select.select([ours], [], [], 0)[0]


def test_given_a_large_message_when_it_is_reserved_then_each_part_of_it_is_a_sign_of_life(world: World) -> None:
    heard: list[None] = []
    broker = redis.open_broker(world.server.url, OpenOptions(heard=lambda: heard.append(None)))
    try:
        lease = broker.register("owner", "node")
        broker.publish(one())
        assert len(broker.turn(lease, reserve=1, queues=[QUEUE]).reserved) == 1
        assert heard == []
        large = Message(b"x" * 4_000_000, "application/json", "utf-8", {"task": "t", "id": "b"}, {"body_encoding": "base64"})
        broker.publish([Outgoing(large, QUEUE)])
        assert len(broker.turn(lease, reserve=1, queues=[QUEUE]).reserved) == 1
        assert len(heard) >= 10
    finally:
        broker.close()

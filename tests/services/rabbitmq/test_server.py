"""The server that the other tests of this folder stand on."""

from __future__ import annotations

import socket

import pytest
from tests.rabbit import RabbitError, RabbitServer, vhost_of

pytestmark = pytest.mark.rabbitmq


def test_given_a_test_then_it_has_a_virtual_host_of_its_own(rabbit_server: RabbitServer, rabbit_url: str) -> None:
    other = rabbit_server.new_vhost()
    assert rabbit_url.startswith(f"amqp://guest:guest@127.0.0.1:{rabbit_server.port}/v")
    assert {vhost_of(rabbit_url), vhost_of(other)} <= {vhost["name"] for vhost in rabbit_server.api("GET", "vhosts")}
    rabbit_server.delete_vhost(other)
    with pytest.raises(RabbitError):
        rabbit_server.api("GET", f"vhosts/{vhost_of(other)}")


def test_given_a_node_then_it_is_not_the_machines(own_rabbit: RabbitServer) -> None:
    assert own_rabbit.port != 5672
    assert f"Node name: {own_rabbit.node}" in own_rabbit.ctl("status")
    assert str(own_rabbit.folder) in own_rabbit.ctl("status")


def test_when_a_node_is_killed_and_started_then_it_is_at_the_same_place_with_what_it_had(own_rabbit: RabbitServer) -> None:
    url = own_rabbit.new_vhost()
    own_rabbit.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", own_rabbit.port))
    own_rabbit.start()
    assert own_rabbit.api("GET", f"vhosts/{vhost_of(url)}")


def test_when_a_node_is_stopped_then_it_ended_in_peace(own_rabbit: RabbitServer) -> None:
    own_rabbit.stop()
    assert not own_rabbit.running
    assert "stopped TCP listener" in own_rabbit.log()


def test_when_the_memory_alarm_is_on_then_the_node_says_so(own_rabbit: RabbitServer) -> None:
    own_rabbit.set_memory_alarm(True)
    assert "memory" in own_rabbit.ctl("eval", "rabbit_alarm:get_alarms().")
    own_rabbit.set_memory_alarm(False)
    assert "memory" not in own_rabbit.ctl("eval", "rabbit_alarm:get_alarms().")


def test_when_connections_are_closed_then_the_others_stay(own_rabbit: RabbitServer) -> None:
    with socket.create_connection(("127.0.0.1", own_rabbit.port), timeout=60) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        assert connection.recv(1) == b"\x01"
        own_rabbit.close_connections(own_rabbit.new_vhost())
        own_rabbit.close_connections()

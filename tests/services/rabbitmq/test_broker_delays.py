"""The delay queues that we make are those that a real Celery 5.7 made (recordings/amqp-topology.json)."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
from tests.rabbit import RabbitServer, vhost_of

from sedano.contracts import OpenOptions
from sedano.drivers.rabbitmq.address import address_of
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.delays import celerys

pytestmark = pytest.mark.rabbitmq

RECORDING = pathlib.Path(__file__).parents[2] / "interop" / "recordings" / "amqp-topology.json"
CELERYS = next(each for each in json.loads(RECORDING.read_text())["vectors"] if each["id"] == "quorum_native_delayed")


def test_given_celerys_delay_levels_when_we_make_them_then_the_server_shows_what_celery_made(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    connection = Connection(address_of(rabbit_url, {}, OpenOptions()), name="tests")
    connection.open()
    for _ in range(2):  # repeating it is harmless
        celerys("classic").declare(connection.channel())
    connection.close()
    vhost = vhost_of(rabbit_url)
    queues: list[dict[str, Any]] = rabbit_server.api("GET", f"queues/{vhost}?columns=name,durable,arguments")
    bindings: list[dict[str, Any]] = rabbit_server.api("GET", f"bindings/{vhost}")
    exchanges: list[dict[str, Any]] = rabbit_server.api("GET", f"exchanges/{vhost}")
    recorded = [each for each in CELERYS["queues"] if each["name"].startswith("celery_delayed")]
    assert len(queues) == len(recorded) == 28
    assert {each["name"]: (each["durable"], each["arguments"]) for each in queues} == {
        each["name"]: (each["durable"], {name: value for name, _, value in each["arguments"]}) for each in recorded
    }
    assert {(each["name"], each["type"], each["durable"]) for each in exchanges if "delayed" in each["name"]} == {
        (each["name"], each["type"], each["durable"]) for each in CELERYS["exchanges"] if "delayed" in each["name"]
    }
    assert {
        (each["source"], each["destination_type"], each["destination"], each["routing_key"])
        for each in bindings
        if each["source"]
    } == {
        (each["source_name"], each["destination_kind"], each["destination_name"], each["routing_key"])
        for each in CELERYS["bindings"]
        if each["source_name"].startswith("celery_delayed_") and each["source_name"] != "celery_delayed_delivery"
    }

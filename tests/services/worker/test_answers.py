"""What a real node says of itself when it is asked, beside the keys that Celery's workers answer with."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Generator
from typing import Any

import pytest
from tests.services.settings.nodes import NodeProject

from sedano.protocol import control, envelope
from sedano.testing.node import Node

RECORDING = pathlib.Path(__file__).parents[2] / "interop" / "recordings" / "control-redis.json"
PATIENCE_S = 60.0


def celerys(name: str) -> Any:
    """The answer of a Celery worker in the recording."""
    for vector in json.loads(RECORDING.read_text(encoding="utf-8"))["vectors"]:
        if vector["id"] == name:
            raw = next(message["raw"] for message in vector["messages"] if message["kind"] == "reply")
            ((_, value),) = control.read_reply(envelope.decode(raw.encode())).values.items()
            return value
    raise LookupError(name)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Any, Node]]:
    project = NodeProject(tmp_path_factory.mktemp("asked"))
    settings = {"task_annotations": {"tasks.say": {"rate_limit": "10/m"}}, "security_key_password": "hush"}
    node = project.ready(settings, concurrency=2)
    yield project.app.control.inspect(["w1@test"], timeout=PATIENCE_S), node
    project.close()


def test_given_a_node_when_asked_for_stats_then_it_has_the_keys_of_celerys(asked: tuple[Any, Node]) -> None:
    inspect, node = asked
    stats = inspect.stats()["w1@test"]

    theirs = celerys("stats")
    assert set(theirs) - {"total"} <= set(stats)
    assert set(stats["broker"]) == set(theirs["broker"])
    assert set(stats["rusage"]) == set(theirs["rusage"])
    assert set(theirs["pool"]) - {"writes"} <= set(stats["pool"])
    assert stats["pid"] == node.pid
    assert sorted(stats["pool"]["processes"]) == node.slots()
    assert stats["broker"]["transport"] == "sqlite"
    assert isinstance(stats["clock"], str)
    assert int(stats["clock"]) < inspect.clock()["w1@test"]["clock"]


def test_given_a_node_when_asked_what_it_knows_then_tasks_are_named_with_their_attributes(asked: tuple[Any, Node]) -> None:
    inspect, _ = asked
    names = inspect.registered()["w1@test"]
    assert "tasks.say [rate_limit=10/m]" in names
    assert "tasks.pid" in names
    assert not any(name.startswith("celery.") for name in names)
    assert "tasks.pid [max_retries=3]" in inspect.registered("max_retries")["w1@test"]


def test_given_a_node_when_asked_for_its_queues_then_each_has_all_that_celery_says(asked: tuple[Any, Node]) -> None:
    inspect, _ = asked
    (queue,) = inspect.active_queues()["w1@test"]
    (theirs,) = celerys("active_queues")
    assert set(queue) == {*theirs, "paused"}
    assert queue["exchange"] == theirs["exchange"]
    assert (queue["name"], queue["routing_key"], queue["durable"]) == ("celery", "celery", True)


def test_given_a_node_when_asked_for_its_settings_then_secrets_are_masked(asked: tuple[Any, Node]) -> None:
    inspect, _ = asked
    settings = inspect.conf()["w1@test"]
    assert settings["security_key_password"] == "********"
    assert "task_default_queue" not in settings
    assert (settings["deprecated_settings"], settings["worker_disable_prefetch"]) == (None, False)
    assert {"tasks", "sedano.app.builtin"} <= set(settings["include"])
    assert inspect.conf(with_defaults=True)["w1@test"]["task_default_queue"] == "celery"
    assert "hush" not in json.dumps(inspect.report())
    assert "software -> sedano:" in inspect.report()["w1@test"]["ok"]


def test_given_a_node_when_asked_what_was_revoked_then_it_names_the_ids_of_the_store(asked: tuple[Any, Node]) -> None:
    inspect, _ = asked
    inspect.app.control.revoke("some-id", reply=True, timeout=PATIENCE_S)
    assert inspect.revoked() == {"w1@test": ["some-id"]}
    assert "error" in inspect._request("stats", nonsense=1)["w1@test"]

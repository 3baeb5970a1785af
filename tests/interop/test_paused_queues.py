"""What `sedano queues` sees of a Celery worker, which knows no pauses; what Celery sees of a Sedano worker's queues."""

from __future__ import annotations

import json

import pytest
from tests.interop.peers import Pair

pytestmark = [pytest.mark.celery, pytest.mark.redis]


def test_given_a_celery_worker_when_its_queue_is_paused_then_it_is_named_as_one_that_goes_on(to_celery: Pair) -> None:
    rows = json.loads(to_celery.command("queues", "--json", "-t", "60").stdout)
    (queue,) = {row["queue"] for row in rows if to_celery.name in row["consumers"]}
    try:
        done = to_celery.command("queues", "pause", queue, "--json", "-t", "60")
        assert json.loads(done.stdout) == {"paused": [queue], "not_heeded_by": {queue: [to_celery.name]}}
    finally:
        to_celery.command("queues", "resume", queue)


def test_given_a_sedano_worker_when_celery_inspects_its_queues_then_they_have_celerys_form(from_celery: Pair) -> None:
    asked = "app.control.inspect(destination=[name], timeout=PATIENCE).active_queues()"
    (queue, *_) = from_celery.ask(asked, name=from_celery.name)[from_celery.name]
    assert queue["paused"] is False
    assert queue["exchange"]["type"] == "direct"
    assert {"name", "routing_key", "durable", "exclusive", "auto_delete", "no_ack", "alias", "bindings"} < queue.keys()

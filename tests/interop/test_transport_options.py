"""Both engines with the same transport options: a prefix of all keys, a list for each priority, a separator of one's own."""

from __future__ import annotations

import json

import pytest
from tests.interop.peers import Place, engine

pytestmark = [pytest.mark.celery, pytest.mark.redis]

TRANSPORT = {
    "visibility_timeout": 3600,
    "global_keyprefix": "shop:",
    "priority_steps": list(range(10)),
    "sep": ":",
    "queue_order_strategy": "priority",
}


@pytest.mark.parametrize("direction", ["celery5.7>sedano", "sedano>celery5.7"])
def test_given_a_key_prefix_and_ten_priority_steps_then_engines_understand_each_other(place: Place, direction: str) -> None:
    options = {
        "broker_transport_options": TRANSPORT,
        "result_backend_transport_options": {"global_keyprefix": "ends"},
        "worker_prefetch_multiplier": 1,
        "task_acks_late": True,
    }
    place.settings["INTEROP_SETTINGS"] = json.dumps(options)
    caller, worker = map(engine, direction.split(">"))
    peer = place.peer(caller)
    priorities = [9, 4, 5, 0, 1]
    ids = peer.ask("[now.apply_async(priority=p).id for p in priorities]", priorities=priorities)
    waiting = {key.decode() for key in place.redis.keys("shop:celery*")}
    assert waiting == {"shop:celery", *(f"shop:celery:{priority}" for priority in priorities if priority)}

    place.ready(worker, "w@test", concurrency=1)
    began = peer.ask("[AsyncResult(one).get(timeout=PATIENCE) for one in ids]", ids=ids)
    assert [priority for _, priority in sorted(zip(began, priorities, strict=True))] == sorted(priorities)
    source = "[[value.get(timeout=PATIENCE) for value in (add.delay(1, 2), add.apply_async((3, 4), countdown=0.3))], pong()]"
    assert peer.ask("def pong(): return app.control.ping(timeout=PATIENCE, limit=1)\n" + source) == [
        [3, 7],
        [{"w@test": {"ok": "pong"}}],
    ]

    keys = {key.decode() for key in place.redis.keys("*")}
    assert {key for key in keys if not key.startswith(("shop:", "ends_celery-task-meta-"))} == set()

"""Random nested workflows through a worker on every kind of store: what plain Python gives, the same on each."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest
from tests.apps import MakeApp
from tests.properties.workflows import random_tree, signature_of, value_of
from tests.servers import RedisServer

from sedano import Celery
from sedano.canvas import Signature
from sedano.testing.worker import start_worker

PATIENCE_S = 120.0
COUNT = 300 if os.environ.get("SEDANO_LONG") == "1" else 25


@pytest.fixture(params=["memory", "sqlite", *(pytest.param(kind, marks=pytest.mark.redis) for kind in ("redis", "two"))])
def app(request: pytest.FixtureRequest, make_app: MakeApp, tmp_path: Any) -> Celery:
    if request.param == "memory":
        return make_app()
    sqlite = f"sqlite:///{tmp_path}/store.db"
    if request.param == "sqlite":
        return make_app(broker=sqlite, backend=sqlite)
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return make_app(broker=server.url, backend=server.url if request.param == "redis" else sqlite)


def test_given_random_workflows_when_they_run_then_they_give_what_plain_python_gives(app: Celery) -> None:
    @app.task(name="proj.named")
    def named(given: Any, name: str) -> Any:
        return [name, given]

    def leaf(name: str) -> Signature[Any]:
        return Signature("proj.named", (name,), app=app)

    seed = int.from_bytes(os.urandom(4), "big")
    random = Random(seed)
    trees = [random_tree(random) for _ in range(COUNT)]
    with start_worker(app):
        results = [signature_of(tree, leaf).apply_async(("x",)) for tree in trees]
        for tree, result in zip(trees, results, strict=True):
            assert result.get(timeout=PATIENCE_S) == value_of(tree, "x"), f"seed {seed}: {tree}"

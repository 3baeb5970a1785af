"""An app on each store that keeps schedules."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.servers import RedisServer, is_left_out, redis_server
from tests.services.schedules.stage import Stage

from sedano import Celery
from sedano.protocol.message import Message

__all__ = ["redis_server"]

STORES = ["memory", "sqlite", "redis"]


def url_of(request: pytest.FixtureRequest, tmp_path: Path, store: str) -> str:
    if store == "memory":
        return f"memory://{tmp_path}"
    if store == "sqlite":
        return f"sqlite:///{tmp_path}/schedule.db"
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return server.url


def app_at(url: str, main: str = "proj") -> Celery:
    app = Celery(main, broker=url, backend=url, set_as_current=False, timezone="Europe/Berlin")

    @app.task(name="add")
    def add(x: int, y: int = 0) -> int:
        return x + y

    return app


@pytest.fixture(params=STORES)
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celery]:
    app = app_at(url_of(request, tmp_path, request.param))
    yield app
    app.close()


@pytest.fixture(params=STORES)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(url_of(request, tmp_path, request.param))
    yield stage
    stage.close()


@pytest.fixture
def quick_stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """On memory: for what is the same on each store."""
    stage = Stage(url_of(request, tmp_path, "memory"))
    yield stage
    stage.close()


def sent_by(app: Celery) -> list[Message]:
    """What stands in the queue, the oldest first. It is taken out."""
    with closing(app.stores.open_broker()) as broker:
        lease = broker.register(f"reader{uuid.uuid4().hex}", "reader@test")
        found: list[Message] = []
        while reserved := broker.turn(lease, reserve=1000, queues=["celery"]).reserved:
            found += [delivery.message for delivery in reserved if delivery.message is not None]
        broker.purge("celery")
        return found

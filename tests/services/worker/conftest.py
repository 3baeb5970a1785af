from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers import RedisServer, is_left_out, redis_server
from tests.services.worker.nodes import NodeWorld

__all__ = ["redis_server"]

Make = Callable[..., NodeWorld]


@pytest.fixture
def make_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Worlds on the store that the test names by its parameter `store`; on Redis when it names none."""
    store = request.node.callspec.params.get("store", "redis") if hasattr(request.node, "callspec") else "redis"
    worlds: list[NodeWorld] = []

    def make(**settings: Any) -> NodeWorld:
        server: RedisServer | None = None
        url = f"sqlite:///{tmp_path}/store.db"
        if store == "redis":
            if is_left_out("redis"):
                pytest.skip("SEDANO_WITHOUT names redis")
            server = request.getfixturevalue("redis_server")
            server.command("FLUSHALL")
            url = server.url
        worlds.append(NodeWorld(url, tmp_path, server, **settings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world: Make) -> NodeWorld:
    return make_world()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that take `store` run on each store that several processes can share."""
    if "store" in metafunc.fixturenames:
        metafunc.parametrize("store", ["redis", "sqlite"])

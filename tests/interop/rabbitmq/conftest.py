"""The same engines as a floor above, with RabbitMQ between them; results lie on a Redis, or come back over rpc://."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.interop.conftest import CONTROL, DIRECTIONS
from tests.interop.peers import Pair, Place, engine
from tests.rabbit import RabbitServer
from tests.servers import RedisServer


@pytest.fixture(scope="session")
def pairs(
    rabbit_server: RabbitServer, interop_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Pair]]:
    """Pairs by direction and result store, started at the first use and kept. Each has a virtual host of its own."""
    started: dict[tuple[str, str], Pair] = {}
    places: list[Place] = []

    def pair_of(direction: str, results: str = "") -> Pair:
        if (direction, results) not in started:
            caller, worker = map(engine, direction.split(">"))
            # The databases from 8 on: those before are of the pairs that have Redis for a broker.
            number = 8 + len(places) % 8
            folder = tmp_path_factory.mktemp("pair")
            places.append(Place(interop_server, number, folder, broker=rabbit_server.new_vhost(), results=results))
            started[direction, results] = Pair(caller, worker, places[-1])
        return started[direction, results]

    yield pair_of
    for place in places:
        place.begin_to_close()
    for place in places:
        place.close()
        rabbit_server.delete_vhost(place.broker)


@pytest.fixture(params=[*DIRECTIONS, *(pytest.param(one, marks=pytest.mark.long) for one in CONTROL)])
def pair(request: pytest.FixtureRequest, pairs: Callable[..., Pair]) -> Pair:
    """Caller and worker, in every direction; results are on Redis."""
    return pairs(request.param)


@pytest.fixture(params=[*DIRECTIONS, *(pytest.param(one, marks=pytest.mark.long) for one in CONTROL)])
def rpc_pair(request: pytest.FixtureRequest, pairs: Callable[..., Pair]) -> Pair:
    """Caller and worker, in every direction; results are sent back to the caller."""
    return pairs(request.param, "rpc://")

"""A real Celery on the other end. SEDANO_WITHOUT=celery leaves these tests out; SEDANO_LONG=1 adds the long ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from tests.interop import environments
from tests.interop.peers import Pair, Place, engine, folder_for
from tests.servers import RedisServer, is_left_out

DIRECTIONS = ("celery5.4>sedano", "celery5.7>sedano", "sedano>celery5.4", "sedano>celery5.7")
CONTROL = ("celery5.4>celery5.4", "celery5.7>celery5.7")
"""Celery with itself: what these tests expect of us is what it does."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {
        "celery": "SEDANO_WITHOUT names celery" if is_left_out("celery") else None,
        "long": None if os.environ.get("SEDANO_LONG") else "long: ./dev test --all, or SEDANO_LONG=1",
    }
    for item in items:
        if item.get_closest_marker("celery") is None:
            continue
        for marker, reason in reasons.items():
            if reason is not None and item.get_closest_marker(marker) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the environments before the first test, whose time is limited. What fails here is told by the tests."""
    wanted = any(item.get_closest_marker("celery") and not item.get_closest_marker("skip") for item in session.items)
    if wanted and not session.config.option.collectonly:
        recipes = [
            *map(environments.celery, environments.VERSIONS),
            environments.celery_and_sedano(),
            environments.flower(),
            environments.flower_of_celery(),
            environments.schedulers(),
        ]
        try:
            for recipe in recipes:
                environments.make(recipe)
        except environments.EnvironmentFailed:
            return


@pytest.fixture(scope="session")
def interop_server() -> Iterator[RedisServer]:
    """A server that nobody else empties: workers stay on it for the whole run."""
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def pairs(interop_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Pair]]:
    """Pairs by direction, started at the first use and kept: a worker costs a second or two to start."""
    started: dict[str, Pair] = {}
    places: list[Place] = []

    def pair_of(direction: str) -> Pair:
        if direction not in started:
            caller, worker = map(engine, direction.split(">"))
            places.append(Place(interop_server, len(places), tmp_path_factory.mktemp("pair")))
            started[direction] = Pair(caller, worker, places[-1])
        return started[direction]

    yield pair_of
    for place in places:
        place.begin_to_close()
    for place in places:
        place.close()


@pytest.fixture(params=[*DIRECTIONS, *(pytest.param(one, marks=pytest.mark.long) for one in CONTROL)])
def pair(request: pytest.FixtureRequest, pairs: Callable[[str], Pair]) -> Pair:
    """Caller and worker, in every direction."""
    return pairs(request.param)


@pytest.fixture(params=["celery5.4>sedano", "celery5.7>sedano"])
def from_celery(request: pytest.FixtureRequest, pairs: Callable[[str], Pair]) -> Pair:
    """Celery calls, Sedano works."""
    return pairs(request.param)


@pytest.fixture(params=["sedano>celery5.4", "sedano>celery5.7"])
def to_celery(request: pytest.FixtureRequest, pairs: Callable[[str], Pair]) -> Pair:
    """Sedano calls, Celery works."""
    return pairs(request.param)


@pytest.fixture
def place(tmp_path) -> Iterator[Place]:
    """A store for one test, for those that kill workers."""
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as server:
        place = Place(server, 0, folder_for("place", tmp_path))
        try:
            yield place
        finally:
            place.close()

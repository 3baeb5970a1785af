from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.services.slot import breakable
from tests.services.slot.breakable import Breakages
from tests.services.slot.world import World

from sedano.app import connect


@pytest.fixture
def breakages(monkeypatch: pytest.MonkeyPatch) -> Breakages:
    """Nothing is broken yet; slots started after this use the driver that can be."""
    fresh = Breakages()
    monkeypatch.setattr(breakable, "breakages", fresh)
    monkeypatch.setattr(connect, "DRIVERS", {**connect.DRIVERS, "memory": "tests.services.slot.breakable"})
    return fresh


@pytest.fixture
def folder() -> Path | None:
    """Where the store is: None is memory. `test_outcomes.py` runs on sqlite as well."""
    return None


@pytest.fixture
def make_world(folder: Path | None) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(**settings: Any) -> World:
        worlds.append(World(folder=folder, **settings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()

"""Workflows between the engines: started by one, run by the other, and by both on one queue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.interop.peers import Pair, Peer, Place, engine
from tests.servers import RedisServer

pytestmark = [pytest.mark.celery, pytest.mark.redis]

SHAPES: dict[str, tuple[str, Any]] = {
    "chain": ("chain(add.s(1, 2), mul.s(3), add.s(10))", 19),
    "chain of one": ("chain(add.s(1, 2))", 3),
    "group": ("group(add.s(i, i) for i in range(5))", [0, 2, 4, 6, 8]),
    "group of one": ("group([add.s(1, 1)])", [2]),
    "group in group": ("group(add.s(1, 1), group(add.s(2, 2), add.s(3, 3)))", [2, 4, 6]),
    "chord": ("chord([add.s(i, i) for i in range(5)], total.s())", 20),
    "chord of one": ("chord([add.s(1, 1)], total.s())", 2),
    "chunks": ("add.chunks([(i, i) for i in range(5)], 2).group()", [[0, 2], [4, 6], [8]]),
    "map": ("total.map([[1, 2], [3]])", [3, 3]),
    "starmap": ("add.starmap([(1, 2), (3, 4)])", [3, 7]),
    "link": ("add.s(1, 2).set(link=mul.s(3))", 3),
    "immutable": ("add.s(1, 2) | add.si(4, 5)", 9),
    "chain into group": ("add.s(1, 1) | group(mul.s(2), mul.s(3))", [4, 6]),
    "group and task": ("group(add.s(1, 1), add.s(2, 2)) | total.s()", 6),
    "chain, group, task": ("add.s(1, 1) | group(mul.s(2), mul.s(3)) | total.s() | add.s(100)", 110),
    "group, group": ("group(add.s(1, 1), add.s(2, 2)) | group(total.s(), total.s())", [6, 6]),
    "chain in group": ("group(add.s(1, 1) | mul.s(5), add.s(2, 2))", [10, 4]),
    "chain in chord": ("chord([add.s(1, 1) | mul.s(5), add.s(2, 2) | mul.s(5)], total.s())", 30),
    "body is a chain": ("chord([add.s(1, 1), add.s(2, 2)], total.s() | mul.s(2))", 12),
    "body is a group": ("chord([add.s(1, 1), add.s(2, 2)], group(total.s(), same.s()))", [6, [2, 4]]),
    "body is a chord": ("chord([add.s(1, 1), add.s(2, 2)], chord([total.s(), total.s()], total.s()))", 12),
    "chord in chord": ("chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(3, 3)], total.s())", 12),
    "chord in group": ("group(chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(3, 3))", [6, 6]),
    "chord in chain": ("chain(add.s(1, 1), chord([add.s(1), add.s(2)], total.s()), mul.s(2))", 14),
    "chord in group in chain": (
        "chain(add.s(1, 1), group(chord([add.s(1), add.s(2)], total.s()), add.s(1)), total.s())",
        10,
    ),
    "three deep": (
        "chord([chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(1, 0)], total.s()), add.s(1, 1)], total.s())",
        9,
    ),
    "chain in chord in chain in group": (
        "group(add.s(0, 1) | chord([add.s(1) | mul.s(2), add.s(2)], total.s()) | add.s(1), add.s(5, 5))",
        [8, 10],
    ),
    "group at the end of a chain in a header": (
        "chord([add.s(1, 1) | group(mul.s(2), mul.s(3)), add.s(5, 5)], same.s())",
        [[4, 6], 10],
    ),
    "group as the body of a chord in a header": (
        "chord([chord([add.s(0, 1), add.s(0, 2)], group(same.s(), same.s())), add.s(5, 5)], same.s())",
        [[[1, 2], [1, 2]], 10],
    ),
    "replaced by a chord": ("fan_out.s(3) | add.s(100)", 106),
    "replaced in a header": ("chord([fan_out.s(2), add.s(1, 1)], total.s())", 5),
}

# The first never ends; of the others the body now and then gets None for a result that is not stored yet.
BROKEN_IN_5_4 = {
    "chain in chord in chain in group",
    "group at the end of a chain in a header",
    "group as the body of a chord in a header",
}

SOURCE = """
    from celery import chain, chord, group
    started = {name: eval(text, globals()).apply_async() for name, text in shapes.items()}
    {name: outcome(result) for name, result in started.items()}
"""

ERRORS: dict[str, str] = {
    "first": "chain(fail.s('no'), same.s(), same.s())",
    "middle": "chain(same.s(1), fail.si('no'), same.s())",
    "last": "chain(same.s(1), fail.si('no'))",
    "in a group": "group(fail.s('no'), same.s(1))",
    "in a header": "chord([same.s(1), fail.s('no')], total.s())",
    "several in a header": "chord([fail.s('no'), fail.s('no')], total.s())",
    "in a body": "chord([same.s(1), same.s(2)], fail.si('no'))",
    "in a header before more": "chord([same.s(1), fail.s('no')], total.s() | add.s(1))",
}


class Fleet:
    """A worker of each engine on one queue."""

    def __init__(self, place: Place, version: str) -> None:
        self.celery = version
        celery, sedano = engine(f"celery{version}"), engine("sedano")
        nodes = [place.worker(sedano, "s@fleet"), place.worker(celery, "c@fleet")]
        self.callers: dict[str, Peer] = {"celery": place.peer(celery), "sedano": place.peer(sedano)}
        for node in nodes:
            node.wait_ready(120)


@pytest.fixture(scope="module", params=["5.4", pytest.param("5.7", marks=pytest.mark.long)])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with RedisServer() as server:
        place = Place(server, 0, tmp_path_factory.mktemp("canvas"))
        try:
            yield Fleet(place, request.param)
        finally:
            place.close()


def shapes_for(engines: str) -> dict[str, str]:
    """What can be asked of these engines: some shapes Celery 5.4 gets wrong with itself, too."""
    return {name: text for name, (text, _) in SHAPES.items() if "5.4" not in engines or name not in BROKEN_IN_5_4}


def expected(shapes: dict[str, str]) -> dict[str, Any]:
    return {name: ("value", SHAPES[name][1]) for name in shapes}


def test_given_workflows_of_one_engine_when_the_other_runs_them_then_they_give_what_they_should(pair: Pair) -> None:
    texts = shapes_for(pair.caller.name + pair.engine.name)
    assert pair.ask(SOURCE, shapes=texts) == expected(texts)


@pytest.mark.parametrize("caller", ["celery", "sedano"])
def test_given_workflows_when_both_engines_run_them_together_then_they_give_what_they_should(fleet: Fleet, caller: str) -> None:
    texts = shapes_for(fleet.celery)
    for _ in range(3):
        assert fleet.callers[caller].ask(SOURCE, shapes=texts) == expected(texts)


@pytest.mark.parametrize("caller", ["celery", "sedano"])
def test_given_errors_in_each_position_when_both_engines_run_them_then_the_caller_hears_them(fleet: Fleet, caller: str) -> None:
    heard = fleet.callers[caller].ask(SOURCE, shapes=ERRORS)
    assert {name: told[:2] for name, told in heard.items() if told[1] != "ChordError"} | {
        name: ("raised", "ValueError") for name, told in heard.items() if told[1] == "ChordError" and "header" in name
    } == dict.fromkeys(ERRORS, ("raised", "ValueError"))

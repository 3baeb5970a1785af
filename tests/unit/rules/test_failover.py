from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import pytest

from sedano.exceptions import ImproperlyConfigured
from sedano.rules.failover import AWAY, Rotation, Sight, better_place

URLS = ["redis://a", "redis://b", "redis://c"]


def tried(rotation: Rotation, start: int, times: int) -> list[int]:
    places = [start]
    for _ in range(times):
        places.append(rotation.after(places[-1]))
    return places[1:]


def test_given_round_robin_then_servers_follow_each_other() -> None:
    for strategy in (None, "round-robin"):
        assert tried(Rotation(URLS, strategy), 0, 5) == [1, 2, 0, 1, 2]
        assert Rotation(URLS, strategy).has_home


def test_given_shuffle_then_the_server_that_is_away_is_not_the_next_one() -> None:
    rotation = Rotation(URLS, "shuffle")
    places = [0, *tried(rotation, 0, 200)]
    assert set(places) == {0, 1, 2}
    assert all(one != following for one, following in itertools.pairwise(places))
    assert not rotation.has_home


def test_given_a_function_then_its_order_is_kept_and_begun_again_at_its_end() -> None:
    asked: list[Sequence[str]] = []

    def backwards(urls: Sequence[str]) -> Iterable[str]:
        asked.append(urls)
        return reversed(urls)

    rotation = Rotation(URLS, backwards)
    assert tried(rotation, 0, 5) == [2, 1, 0, 2, 1]
    assert asked == [URLS, URLS]
    assert not rotation.has_home


def test_given_a_function_that_never_gives_another_server_then_the_next_one_is_tried() -> None:
    assert Rotation(URLS, lambda urls: urls[:1]).after(0) == 1


def test_given_a_wrong_strategy_then_it_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="random"):
        Rotation(URLS, "random")
    with pytest.raises(ImproperlyConfigured, match="none of the broker's URLs"):
        Rotation(URLS, lambda _: ["redis://elsewhere"]).after(0)


IDLE, BUSY = Sight(answers=True), Sight(answers=True, ready=3)
SAME = Sight(answers=True, is_same=True, ready=3)


@pytest.mark.parametrize(
    ("current", "sights", "expected"),
    [
        (0, [IDLE, IDLE], None),
        (0, [IDLE, BUSY], 1),
        (0, [BUSY, BUSY], None),
        (0, [BUSY, AWAY], None),
        (0, [IDLE, AWAY, BUSY], 2),
        (1, [AWAY, IDLE], None),
        (1, [IDLE, IDLE], 0),
        (1, [IDLE, BUSY], None),
        (2, [IDLE, BUSY, IDLE], 1),
        (0, [IDLE, SAME], None),
        (1, [SAME, IDLE], None),
    ],
)
def test_given_what_a_node_sees_then_it_goes_where_work_waits_or_home(
    current: int, sights: list[Sight], expected: int | None
) -> None:
    assert better_place(current, sights, has_home=True, is_patient=True) == expected


def test_given_work_here_and_elsewhere_for_long_then_the_node_goes_there() -> None:
    assert better_place(0, [BUSY, BUSY], has_home=True, is_patient=False) == 1
    assert better_place(0, [BUSY, IDLE], has_home=True, is_patient=False) is None


def test_given_an_order_of_the_users_own_then_no_server_is_preferred() -> None:
    assert better_place(1, [IDLE, IDLE], has_home=False, is_patient=True) is None
    assert better_place(1, [BUSY, IDLE], has_home=False, is_patient=True) == 0

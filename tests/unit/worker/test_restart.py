from __future__ import annotations

from sedano.worker.restart import LONGEST_S, Restarts


def test_given_a_slot_that_dies_at_once_again_and_again_when_it_is_made_again_then_each_wait_is_longer() -> None:
    restarts = Restarts(alive_s=4.0)
    waits: list[float] = []
    for turn in range(9):
        restarts.born(now=100.0 * turn, windows=0)
        waits.append(restarts.wait_s(100.0 * turn + 0.1, -11, 0, meant=False))
    assert waits[:4] == [0.0, 1.0, 2.0, 4.0]
    assert waits[-1] == LONGEST_S


def test_given_failures_when_a_slot_has_worked_then_the_next_one_is_made_at_once() -> None:
    restarts = Restarts(alive_s=4.0)
    for _ in range(3):
        restarts.born(0.0, 0)
        restarts.wait_s(0.1, 1, 0, meant=False)
    restarts.born(10.0, 0)
    assert restarts.wait_s(10.1, -9, 1, meant=False) == 0.0
    assert restarts.failures == 0


def test_given_a_slot_that_lived_long_or_left_by_itself_or_was_ended_when_it_dies_then_it_is_no_failure() -> None:
    restarts = Restarts(alive_s=4.0)
    for exitcode, after_s, meant in ((-9, 5.0, False), (0, 0.1, False), (-9, 0.1, True)):
        restarts.failures = 3
        restarts.born(0.0, 0)
        assert restarts.wait_s(after_s, exitcode, 0, meant=meant) == 0.0
        assert restarts.failures == 0

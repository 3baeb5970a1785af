"""When due calls are looked for again."""

from __future__ import annotations

import pytest

from sedano.rules.promotion import AT_ONCE, PAUSE_S, look_again_in

NOW = 1000.0


@pytest.mark.parametrize(
    ("moved", "next_due", "expected"),
    [
        (0, None, None),
        (7, None, None),
        (0, NOW + 0.002, 0.002),  # alone: on time
        (0, NOW + 60, 60.0),
        (0, NOW - 1, PAUSE_S),  # the store's clock is behind
        (1, NOW + 0.001, PAUSE_S),  # a stream
        (1, NOW - 1, PAUSE_S),
        (1, NOW + 60, 60.0),
        (AT_ONCE, NOW - 1, 0.0),  # more is due than a step moves
        (AT_ONCE, NOW + 60, 60.0),
    ],
)
def test_given_what_a_step_moved_and_what_is_next_then_a_stream_is_paced_and_a_lone_call_is_on_time(
    moved: int, next_due: float | None, expected: float | None
) -> None:
    assert look_again_in(moved, next_due, NOW) == pytest.approx(expected)


def test_given_a_thousand_calls_due_each_second_then_about_a_hundred_steps_move_them() -> None:
    due = [NOW + number / 1000 for number in range(1000)]
    now, steps = NOW, 0
    while due:
        moved = sum(when <= now for when in due)
        due, steps = due[moved:], steps + 1
        wait_s = look_again_in(moved, due[0] if due else None, now)
        now += wait_s or 0.0
    assert steps <= 110

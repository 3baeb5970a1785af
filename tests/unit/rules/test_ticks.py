"""What happens at the due moments of an entry."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedano.rules.ticks import AT_ONCE, LOOK_AGAIN_S, Misfire, Overlap, State, Step, Terms, first, step


def each(period: float) -> Callable[[float], float]:
    """The moments 0, `period`, 2 * `period` ..."""

    def upcoming(after: float) -> float:
        return (math.floor(after / period) + 1) * period

    return upcoming


EACH_10 = each(10.0)
RUNNING = State(20.0, 1, "t1", 10.0, 10.1)


def reasons(made: Step) -> dict[float, str]:
    return dict(made.missed)


class TestOnTime:
    def test_a_due_moment_is_sent_and_the_next_one_follows(self) -> None:
        made = step(Terms(), State(20.0), 20.4, EACH_10)
        assert made == Step(State(30.0, 1, "", 20.0, 20.4), 30.0, (20.0,))

    def test_before_its_moment_nothing_happens(self) -> None:
        assert step(Terms(), State(20.0, 4), 19.9, EACH_10) == Step(State(20.0, 4), 20.0)

    def test_jitter_moves_the_due_time_and_leaves_the_moments(self) -> None:
        made = step(Terms(), State(20.0), 22.0, EACH_10, jitter=lambda moment: moment + 3)
        assert made == Step(State(20.0), 23.0)
        made = step(Terms(), State(20.0), 23.0, EACH_10, jitter=lambda moment: moment + 3)
        assert (made.sent, made.state.moment, made.next_due) == ((20.0,), 30.0, 33.0)


class TestFirst:
    def test_a_new_entry_waits_for_the_next_moment(self) -> None:
        assert first(Terms(), 23.0, EACH_10) == 30.0

    def test_the_start_itself_counts_and_nothing_before_it(self) -> None:
        assert first(Terms(start=50.0), 23.0, EACH_10) == 50.0
        assert first(Terms(start=51.0), 23.0, EACH_10) == 60.0
        assert first(Terms(start=1.0), 23.0, EACH_10) == 30.0

    def test_with_no_moment_before_the_end_there_is_none(self) -> None:
        assert first(Terms(end=29.0), 23.0, EACH_10) is None
        assert first(Terms(end=30.0), 23.0, EACH_10) == 30.0


class TestMisfire:
    def test_once_sends_the_latest_and_names_the_others(self) -> None:
        made = step(Terms(), State(20.0), 55.0, EACH_10)
        assert made.sent == (50.0,)
        assert list(reasons(made)) == [20.0, 30.0, 40.0]
        assert made.next_due == 60.0

    def test_skip_sends_what_is_late_within_the_grace_only(self) -> None:
        terms = Terms(Misfire.SKIP, grace_s=5.0)
        assert step(terms, State(20.0), 25.0, EACH_10).sent == (20.0,)
        late = step(terms, State(20.0), 25.1, EACH_10)
        assert late.sent == ()
        assert "late by more than 5 s" in reasons(late)[20.0]

    def test_all_sends_each_within_the_window_oldest_first(self) -> None:
        made = step(Terms(Misfire.ALL, window_s=25.0), State(20.0), 55.0, EACH_10)
        assert made.sent == (30.0, 40.0, 50.0)
        assert list(reasons(made)) == [20.0]

    def test_all_goes_on_in_the_next_step_when_there_are_many(self) -> None:
        terms, state, sent = Terms(Misfire.ALL, window_s=1e9), State(10.0), list[float]()
        while state.moment is not None and state.moment <= 25_000.0:
            made = step(terms, state, 25_000.0, EACH_10)
            assert 0 < len(made.sent) <= AT_ONCE
            assert made.missed == ()
            sent += made.sent
            state = made.state
        assert sent == [10.0 * number for number in range(1, 2501)]
        assert state.total == 2500

    @pytest.mark.parametrize("terms", [Terms(), Terms(Misfire.SKIP), Terms(Misfire.ALL, window_s=25.0)])
    def test_a_year_of_moments_each_second_is_passed_over_quickly(self, terms: Terms) -> None:
        asked = 0

        def upcoming(after: float) -> float:
            nonlocal asked
            asked += 1
            return math.floor(after) + 1.0

        made = step(terms, State(20.0), 31_536_000.5, upcoming)
        assert any("too many to count" in reason for reason in reasons(made).values())
        if terms.misfire is Misfire.ALL:  # the rest comes in the next step
            made = step(terms, made.state, 31_536_000.5, upcoming)
        assert asked < 5000
        assert made.state.moment == 31_536_001.0
        assert made.sent[-1] == 31_536_000.0


class TestOverlap:
    def test_allow_asks_nobody(self) -> None:
        assert step(Terms(), RUNNING, 20.0, EACH_10, is_running=True).sent == (20.0,)

    def test_skip_names_the_call_that_is_not_over(self) -> None:
        made = step(Terms(overlap=Overlap.SKIP), RUNNING, 20.0, EACH_10, is_running=True)
        assert made.sent == ()
        assert "t1" in reasons(made)[20.0]
        assert (made.state.total, made.state.last_moment, made.next_due) == (1, 10.0, 30.0)

    @pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE, Overlap.CANCEL])
    def test_when_the_call_before_is_over_the_next_is_sent(self, overlap: Overlap) -> None:
        made = step(Terms(overlap=overlap), RUNNING, 20.0, EACH_10)
        assert (made.sent, made.cancel, made.missed) == ((20.0,), False, ())

    def test_cancel_sends_and_terminates_the_one_before(self) -> None:
        made = step(Terms(overlap=Overlap.CANCEL), RUNNING, 20.0, EACH_10, is_running=True)
        assert (made.sent, made.cancel) == ((20.0,), True)

    def test_queue_waits_for_the_end_and_the_latest_replaces_what_waits(self) -> None:
        terms = Terms(overlap=Overlap.QUEUE)
        waits = step(terms, RUNNING, 20.0, EACH_10, is_running=True)
        assert (waits.sent, waits.state.waiting, waits.next_due) == ((), 20.0, 20.0 + LOOK_AGAIN_S)
        later = step(terms, waits.state, 30.0, EACH_10, is_running=True)
        assert (later.sent, later.state.waiting, list(reasons(later))) == ((), 30.0, [20.0])
        over = step(terms, later.state, 34.0, EACH_10)
        assert (over.sent, over.state.waiting, over.next_due) == ((30.0,), None, 40.0)

    def test_several_at_once_go_one_after_the_other(self) -> None:
        terms = Terms(Misfire.ALL, Overlap.QUEUE)
        made = step(terms, State(20.0), 45.0, EACH_10)
        assert (made.sent, made.state.waiting, list(reasons(made))) == ((20.0,), 40.0, [30.0])


class TestTheEnd:
    def test_after_the_last_of_its_runs_an_entry_is_over(self) -> None:
        made = step(Terms(max_runs=3), State(20.0, 2), 20.0, EACH_10)
        assert (made.sent, made.state.moment, made.next_due) == ((20.0,), None, None)

    def test_runs_beyond_the_last_are_missed(self) -> None:
        made = step(Terms(Misfire.ALL, max_runs=3), State(20.0, 1), 55.0, EACH_10)
        assert made.sent == (20.0, 30.0)
        assert list(reasons(made)) == [40.0, 50.0]
        assert made.next_due is None

    def test_after_the_end_no_moment_is_left(self) -> None:
        made = step(Terms(end=29.0), State(20.0), 20.0, EACH_10)
        assert (made.sent, made.next_due) == ((20.0,), None)


@given(
    period=st.sampled_from([0.5, 1.0, 7.0, 60.0]),
    misfire=st.sampled_from(Misfire),
    overlap=st.sampled_from(Overlap),
    waits=st.lists(st.floats(0.0, 300.0), max_size=30),
    running=st.lists(st.booleans(), min_size=30, max_size=30),
    max_runs=st.none() | st.integers(1, 20),
    jitters=st.floats(0.0, 0.4),
)
def test_each_moment_is_dealt_with_exactly_once(
    period: float,
    misfire: Misfire,
    overlap: Overlap,
    waits: list[float],
    running: list[bool],
    max_runs: int | None,
    jitters: float,
) -> None:
    upcoming, terms = each(period), Terms(misfire, overlap, window_s=100.0, max_runs=max_runs)
    begin = 1000.0
    moment = first(terms, begin, upcoming)
    state, now, dealt = State(moment), begin, list[float]()
    for wait, is_running in zip(waits, running, strict=False):
        now += wait
        made = step(terms, state, now, upcoming, is_running=is_running, jitter=lambda at: at + jitters * period)
        dealt += [*made.sent, *(at for at, _ in made.missed)]
        assert all(at + jitters * period <= now for at in made.sent)
        assert made.next_due is None or made.next_due > now - 1e-6 or len(made.sent) == AT_ONCE or misfire is Misfire.ALL
        state = made.state
    assert len(dealt) == len(set(dealt))
    assert state.total <= (max_runs or math.inf)
    ends_at = state.moment if state.moment is not None else max([*dealt, begin])
    expected, at = set[float](), moment
    while at is not None and at < ends_at:
        expected.add(at)
        at = upcoming(at)
    if len(expected) < 900:
        assert expected - {state.waiting} <= set(dealt)

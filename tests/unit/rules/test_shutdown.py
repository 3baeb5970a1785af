from __future__ import annotations

import itertools

import pytest

from sedano.rules.shutdown import COLD_MESSAGE, TRANSITIONS, WARM_MESSAGE, Action, Event, Phase, step


def run(*events: Event) -> tuple[Phase, list[Action], int]:
    phase, actions, code = Phase.RUNNING, [], 0
    for event in events:
        taken = step(phase, event)
        phase = taken.phase
        actions.append(taken.action)
        code = code if taken.exitcode is None else taken.exitcode
    return phase, actions, code


@pytest.mark.parametrize(
    ("events", "phase", "actions", "code"),
    [
        ([Event.TERM], Phase.WARM, [Action.DRAIN], 0),
        ([Event.TERM, Event.TERM, Event.TERM], Phase.WARM, [Action.DRAIN, Action.NONE, Action.NONE], 0),
        ([Event.TERM, Event.DRAINED], Phase.STOPPED, [Action.DRAIN, Action.EXIT], 0),
        ([Event.INT, Event.DRAINED], Phase.STOPPED, [Action.DRAIN, Action.EXIT], 1),
        ([Event.INT, Event.INT], Phase.COLD, [Action.DRAIN, Action.CANCEL], 1),
        ([Event.QUIT, Event.DRAINED], Phase.STOPPED, [Action.CANCEL, Action.EXIT], 0),
        ([Event.TERM, Event.QUIT, Event.QUIT], Phase.HARD, [Action.DRAIN, Action.CANCEL, Action.EXIT], 0),
        ([Event.TERM, Event.TIMEOUT], Phase.COLD, [Action.DRAIN, Action.CANCEL], 0),
        ([Event.DRAINED], Phase.RUNNING, [Action.NONE], 0),
    ],
)
def test_signals_lead_where_the_table_says(events, phase, actions, code):
    assert run(*events) == (phase, actions, code)


def test_the_words_are_celerys():
    assert step(Phase.RUNNING, Event.TERM).message == WARM_MESSAGE
    assert step(Phase.WARM, Event.INT).message == COLD_MESSAGE


def test_no_sequence_of_events_ever_leads_back_to_work():
    order = [Phase.RUNNING, Phase.WARM, Phase.COLD, Phase.HARD, Phase.STOPPED]
    for (phase, _), taken in TRANSITIONS.items():
        assert order.index(taken.phase) >= order.index(phase)
    for events in itertools.product(Event, repeat=3):
        phase, _, _ = run(*events)
        if Event.QUIT in events or Event.TERM in events or Event.INT in events or Event.SHUTDOWN in events:
            assert phase is not Phase.RUNNING

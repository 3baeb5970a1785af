"""Counts of calls per task, in memory that outlives the process which counts."""

from __future__ import annotations

from sedano.contracts import Depth, Outcome
from sedano.worker.metrics import workers_wanted
from sedano.worker.table import SharedTable
from sedano.worker.tallies import BOUNDS_S, MOST_TASKS, OTHERS, TALLIES_BYTES, Tallies, Tally


def by_task(tallies: Tallies) -> dict[str, Tally]:
    return {tally.task: tally for tally in tallies.tallies()}


def new() -> Tallies:
    return Tallies(memoryview(bytearray(TALLIES_BYTES)))


def test_given_calls_then_each_is_counted_in_the_bucket_of_its_time_and_outcome():
    tallies = new()
    for outcome, seconds in (
        (Outcome.SUCCESS, 0.001),
        (Outcome.SUCCESS, 0.002),
        (Outcome.FAILURE, 9999.0),
        (Outcome.POISON, 1.0),
    ):
        tallies.count("add", outcome, seconds)
    tally = by_task(tallies)["add"]
    assert tally.runtimes[Outcome.SUCCESS][:3] == [1, 1, 0]
    assert tally.runtimes[Outcome.FAILURE][-1] == 1
    assert tally.runtimes[Outcome.LOST][BOUNDS_S.index(1.0)] == 1  # all that are none of the others
    assert sum(sum(counts) for counts in tally.runtimes.values()) == 4
    assert abs(tally.runtime_sum_s - 10000.003) < 1e-6
    assert sum(tally.late) == 0


def test_given_more_tasks_than_there_is_room_for_then_the_last_ones_share_a_name():
    tallies = new()
    for number in range(MOST_TASKS + 20):
        tallies.count(f"task{number}", Outcome.SUCCESS, 0.0)
    tallies.count(f"task{MOST_TASKS - 1}", Outcome.SUCCESS, 0.0)
    found = by_task(tallies)
    assert len(found) == MOST_TASKS + 1
    assert sum(found[OTHERS].runtimes[Outcome.SUCCESS]) == 20
    assert sum(found[f"task{MOST_TASKS - 1}"].runtimes[Outcome.SUCCESS]) == 2


def test_given_the_next_process_of_a_row_then_it_counts_on():
    memory = memoryview(bytearray(TALLIES_BYTES))
    first, second = Tallies(memory), Tallies(memory)
    first.turn_on()
    first.count("add", Outcome.SUCCESS, 0.5)
    first.started_late("mail", 2.0)
    assert second.is_on
    second.count("mail", Outcome.SUCCESS, 0.5)
    second.count("add", Outcome.SUCCESS, 0.5)
    second.started_late("mail", -1.0)  # clocks of two machines
    found = by_task(first)
    assert set(found) == {"add", "mail"}
    assert found["add"].runtime_sum_s == 1.0
    assert found["mail"].late_sum_s == 2.0
    assert sum(found["mail"].late) == 2
    assert found["mail"].late[0] == 1


def test_given_names_that_are_long_or_strange_then_they_are_kept_as_far_as_there_is_room():
    tallies = new()
    tallies.count("ä" * 400, Outcome.SUCCESS, 0.0)
    tallies.count('a"\n\\', Outcome.SUCCESS, 0.0)
    assert list(by_task(tallies)) == ["ä" * 127, 'a"\n\\']


def test_given_a_row_that_is_reset_then_its_tallies_stay_and_its_neighbours_are_untouched():
    table = SharedTable.create(2, lanes=3)
    other = SharedTable.attach(table.fd, 2, 3)
    try:
        other.tallies[0].count("add", Outcome.SUCCESS, 0.1)
        table.reset(0)
        table.boards[1].entries()
        assert list(by_task(table.tallies[0])) == ["add"]
        assert list(by_task(table.tallies[1])) == []
    finally:
        for each in (table, other):
            each.tallies[0].release_memory()


def test_workers_are_wanted_for_all_that_runs_or_could_and_not_for_what_is_paused():
    def wanted(*depths: Depth) -> int:
        return workers_wanted(depths, 4)

    assert wanted() == 0
    assert wanted(Depth("a", ready=1)) == 1
    assert wanted(Depth("a", ready=4), Depth("b", ready=0, begun=4, reserved=1, delayed=100, parked=9)) == 3
    assert wanted(Depth("a", ready=100, begun=1, paused=True)) == 1

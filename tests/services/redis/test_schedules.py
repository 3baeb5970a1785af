"""Schedules on a server: what stands in the keys, a full server, and ticks that need more than one script."""

from __future__ import annotations

import random

import pytest
from tests.services.redis.world import World

from sedano.contracts import Change, Entry, Fence, Outgoing, Run, Tick
from sedano.drivers.redis import schedules as driver
from sedano.drivers.redis.schedules import TICKS_AT_ONCE, RedisSchedules
from sedano.exceptions import LeadershipLost, OperationalError, StoreFull
from sedano.testing.contracts.messages import outgoing

DUE = 1_800_000_000.1


def tick(entry: Entry, queue: str = "q", *, next_due: float | None = DUE + 1, body: bytes = b"") -> Tick:
    run = Run(entry.name, DUE, DUE, entry.name)
    return Tick(entry.name, entry.revision, DUE, next_due, b"stepped", (run,), (outgoing(queue, entry.name, body=body),))


def many(schedules: RedisSchedules, count: int) -> list[Entry]:
    schedules.put([Change(f"e{number:04}", b"", DUE) for number in range(count)])
    return schedules.entries(limit=count)


def test_given_an_entry_that_ran_when_its_keys_are_read_then_they_are_as_described_and_go_with_it(world: World) -> None:
    schedules = world.schedules("näme")
    schedules.put([Change("a", b"definition", DUE)])
    (entry,) = schedules.entries()
    before = {key.removeprefix("_sedano.") for key in world.all_keys()}
    assert before == {f"schedule{part}.näme" for part in ("", "_definitions", "_names", "_states", "_due")}
    assert schedules.fire([tick(entry)], None) == [True]
    assert world.hash("_sedano.schedule.näme") == {"revision": b"1", "decided": b"1"}
    assert world.hash("_sedano.schedule_definitions.näme") == {"a": b"definition"}
    assert world.hash("_sedano.schedule_states.näme") == {"a": b"1:stepped"}
    assert float(world.command("ZSCORE", "_sedano.schedule_due.näme", "a")) == DUE + 1
    assert world.command("ZSCORE", "_sedano.schedule_ran.näme", "a") == b"1"
    assert world.command("LLEN", "_sedano.schedule_runs.5:näme:a") == 1
    schedules.remove(["a"])
    assert {key for key in world.all_keys() if "schedule" in key} == {"_sedano.schedule.näme"}


def test_given_a_full_server_when_written_then_nothing_of_it_is_there_and_entries_can_be_removed(world: World) -> None:
    schedules = world.schedules()
    entries = many(schedules, 3)
    world.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreFull, match="maxmemory"):
        schedules.fire([tick(entries[0]), tick(entries[1], next_due=None)], None)
    with pytest.raises(StoreFull):
        schedules.note(Run("e0000", DUE, DUE, "t", manual=True))
    with pytest.raises(StoreFull):
        schedules.put([Change("new", b"", DUE), Change("e0000", b"new", None)])
    assert schedules.entries() == entries
    assert schedules.runs() == []
    assert world.command("EXISTS", "q") == 0
    assert schedules.remove(["e0002"]) == ["e0002"]
    world.command("CONFIG", "SET", "maxmemory", "0")
    assert schedules.fire([tick(entries[0])], None) == [True]


def test_given_a_queue_that_is_none_when_fired_then_nothing_is_written(world: World) -> None:
    schedules = world.schedules()
    one, two = many(schedules, 2)
    world.command("SET", "other", "text")
    with pytest.raises(OperationalError, match="other is no queue but a string"):
        schedules.fire([tick(one), tick(two, "other")], None)
    assert schedules.entries() == [one, two]
    assert schedules.runs() == []
    assert world.command("EXISTS", "q") == 0


def test_given_more_ticks_than_one_script_takes_when_fired_then_all_are_written(world: World) -> None:
    schedules = world.schedules()
    entries = many(schedules, 2 * TICKS_AT_ONCE + 1)
    written = schedules.fire([tick(entry) for entry in entries], None)
    assert written == [True] * len(entries)
    assert world.command("LLEN", "q") == len(entries)
    assert sorted(run.name for run in schedules.runs(limit=9999)) == [entry.name for entry in entries]
    assert schedules.look(DUE).entries == ()


def test_given_much_to_send_when_fired_then_a_script_is_given_no_more_than_it_may_take(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "BYTES_AT_ONCE", 10_000)
    schedules = world.schedules()
    entries = many(schedules, 5)
    world.command("CONFIG", "RESETSTAT")
    schedules.fire([tick(entry, body=b"x" * 3000) for entry in entries], None)
    assert b"cmdstat_evalsha:calls=3," in world.command("INFO", "commandstats")
    assert world.command("LLEN", "q") == 5


def test_given_a_later_script_that_is_refused_when_fired_then_its_ticks_are_told_as_not_written(world: World) -> None:
    schedules = world.schedules()
    entries = many(schedules, TICKS_AT_ONCE + 2)
    world.command("SET", "other", "text")
    ticks = [tick(entry, "q" if number < TICKS_AT_ONCE else "other") for number, entry in enumerate(entries)]
    assert schedules.fire(ticks, None) == [True] * TICKS_AT_ONCE + [False] * 2
    assert list(schedules.look(DUE).entries) == entries[TICKS_AT_ONCE:]
    with pytest.raises(OperationalError, match="other is no queue"):
        schedules.fire(ticks[TICKS_AT_ONCE:], None)


def test_given_no_ticks_when_fired_without_the_right_to_then_it_is_told(world: World) -> None:
    with pytest.raises(LeadershipLost):
        world.schedules().fire([], Fence("beat", "nobody", 1))


def test_given_a_moment_that_is_no_number_when_written_then_it_is_refused_before_anything_is_sent(world: World) -> None:
    schedules = world.schedules()
    (entry,) = many(schedules, 1)
    with pytest.raises(ValueError, match="no number"):
        schedules.fire([tick(entry, next_due=float("nan"))], None)
    assert schedules.entries() == [entry]


@pytest.mark.parametrize("seed", range(5))
def test_given_entries_that_ran_unequally_often_when_all_runs_are_listed_then_the_last_of_all_are_there(
    world: World, seed: int
) -> None:
    schedules, chance = world.schedules(), random.Random(seed)
    many(schedules, 12)
    names = [f"e{min(int(chance.expovariate(0.5)), 11):04}" for _ in range(150)]
    for number, name in enumerate(names):
        schedules.note(Run(name, DUE, DUE, f"{number}", manual=True))
    for limit in (0, 1, 7, 60, 150, 1000):
        assert [run.task_id for run in schedules.runs(limit=limit)] == [str(n) for n in reversed(range(150))][:limit]


def test_given_an_entry_of_which_no_run_stays_when_all_are_listed_then_it_hides_no_others(world: World) -> None:
    schedules = world.schedules()
    many(schedules, 2)
    schedules.note(Run("e0000", DUE, DUE, "kept", manual=True))
    schedules.note(Run("e0001", DUE, DUE, "not kept", manual=True), keep=0)
    assert [run.task_id for run in schedules.runs(limit=1)] == ["kept"]


def test_given_a_queue_that_nobody_heard_of_when_fired_then_it_is_known(world: World) -> None:
    schedules = world.schedules()
    (entry,) = many(schedules, 1)
    messages = (outgoing("one", "a"), Outgoing(outgoing("two", "b").message, "two", due=DUE))
    schedules.fire([Tick(entry.name, entry.revision, DUE, None, b"", (), messages)], None)
    assert world.broker().queues() == ["one", "two"]

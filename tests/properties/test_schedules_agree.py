"""One random script of a schedule, several drivers: each must answer what the memory model answers.

Ticks are drawn from all entries that were ever seen, so most sequences hold some that are stale, of an entry that is gone, or
under a fence that does not hold. The machine's own books (`sent`) hold what all could break in the same way: no moment of an
entry is sent twice. SEDANO_LONG=1 runs many more and longer scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.contracts.stores import OpenStore, memory_store, redis_store, sqlite_store
from tests.properties.test_drivers_agree import LONG, PROFILE
from tests.servers import RedisServer, redis_server

from sedano.contracts import Change, Entry, Fence, Outgoing, Run, Tick
from sedano.drivers.memory.book import Book
from sedano.exceptions import LeadershipLost
from sedano.testing.contracts.harness import StoreUnderTest
from sedano.testing.contracts.messages import outgoing, task_ids

__all__ = ["redis_server"]

SPACES = ("proj", "proj:a")
NAMES = ("a", "b", "a:b", "é", "*", "\U0001f600")
QUEUES = ("q", "r")
LOCK = "beat.proj"
MOMENTS = st.sampled_from([1e9, 1e9 + 0.1, 1e9 + 0.2, 1e9 + 0.1 + 0.2, 1e9 + 60, 2.5])

spaces, names = st.sampled_from(SPACES), st.sampled_from(NAMES)
changes = st.tuples(
    names,
    st.binary(max_size=3),
    st.none() | MOMENTS,
    st.none() | st.binary(max_size=3),
    st.sampled_from([None, None, "new", "as it stands", "as it was"]),
)


class World:
    """One store: what a script does with it."""

    def __init__(self, store: StoreUnderTest, end_locks: Callable[[], object] | None) -> None:
        self._store = store
        self._end_locks = end_locks
        self._schedules = {space: store.schedules(space) for space in SPACES}
        self._coordination = store.coordination()
        self._slot = store.slot()

    def ask(self, space: str, method: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self._schedules[space], method)(*arguments, **options)

    def fire(self, space: str, ticks: Sequence[Tick], fence: Fence | None, keep: int) -> list[bool] | str:
        try:
            return self._schedules[space].fire(ticks, fence, keep=keep)
        except LeadershipLost:
            return "leadership lost"

    def acquire(self, owner: str) -> int | None:
        return self._coordination.acquire(LOCK, owner, ttl_s=3600.0)

    def release(self, owner: str) -> bool:
        return self._coordination.release_lock(LOCK, owner)

    def locks_run_out(self) -> None:
        if self._end_locks is not None:
            self._end_locks()
        else:
            self._store.pass_time(3601.0)

    def sent(self) -> list[list[str]]:
        """The calls that came into each queue since this was last asked."""
        return [task_ids(self._slot.reserve(queue, limit=1000)) for queue in QUEUES]


class Agreement(RuleBasedStateMachine):
    """The script. `worlds[0]` is the model."""

    def __init__(self, opens: Sequence[tuple[OpenStore, Callable[[], object] | None]]) -> None:
        super().__init__()
        self.exit = ExitStack()
        self.worlds = [World(self.exit.enter_context(each()), end_locks) for each, end_locks in opens]
        self.numbers = count(1)
        self.seen: dict[str, list[Entry]] = {space: [] for space in SPACES}
        self.fences: list[Fence] = [Fence(LOCK, "one", 1)]
        self.sent: set[tuple[str, str, int, float]] = set()  # space, name, revision, moment

    def teardown(self) -> None:
        self.exit.close()

    # -- what is drawn ------------------------------------------------------------------------------------------------

    @rule(space=spaces, drawn=st.lists(changes, min_size=1, max_size=4))
    def put(self, space: str, drawn: list[Any]) -> None:
        given = [Change(name, raw, due, state, self._expected(space, name, how)) for name, raw, due, state, how in drawn]
        self._all("ask", space, "put", given)

    @rule(space=spaces, given=st.lists(names, max_size=3))
    def remove(self, space: str, given: list[str]) -> None:
        self._all("ask", space, "remove", given)

    @rule(space=spaces, until=MOMENTS, limit=st.integers(1, 4))
    def look(self, space: str, until: float, limit: int) -> None:
        self._all("ask", space, "look", until, limit=limit)

    @precondition(lambda self: any(self.seen.values()))
    @rule(data=st.data(), keep=st.integers(0, 3))
    def fire(self, data: st.DataObject, keep: int) -> None:
        space = data.draw(st.sampled_from([space for space in SPACES if self.seen[space]]))
        entries = data.draw(
            st.lists(st.sampled_from(self.seen[space][-20:]), min_size=1, max_size=4, unique_by=lambda each: each.name)
        )
        ticks = [self._tick(data, entry) for entry in entries]
        fence = data.draw(st.none() | st.sampled_from(self.fences[-4:]))
        answer = self._all("fire", space, ticks, fence, keep)
        for tick, is_written in zip(ticks, answer, strict=True) if isinstance(answer, list) else ():
            if is_written:
                moment = (space, tick.name, tick.revision, tick.due)
                assert moment not in self.sent, f"{moment} was written twice"
                self.sent.add(moment)

    @rule(space=spaces, name=names, due=MOMENTS, how_many=st.integers(0, 2), keep=st.integers(0, 3))
    def note(self, space: str, name: str, due: float, how_many: int, keep: int) -> None:
        messages = self._messages(how_many)
        self._all("ask", space, "note", self._run(name, due, is_manual=True), messages, keep=keep)

    @rule(owner=st.sampled_from(["one", "two"]))
    def acquire(self, owner: str) -> None:
        term = self._all("acquire", owner)
        if term is not None:
            self.fences.append(Fence(LOCK, owner, term))

    @rule(owner=st.sampled_from(["one", "two"]))
    def release(self, owner: str) -> None:
        self._all("release", owner)

    @rule()
    def locks_run_out(self) -> None:
        self._all("locks_run_out")

    @rule(space=spaces, name=names)
    def ask_for_one(self, space: str, name: str) -> None:
        entries = self._all("ask", space, "entries")
        assert self._all("ask", space, "entry", name) == next((each for each in entries if each.name == name), None)

    @rule(space=spaces, after=names, limit=st.integers(1, 3))
    def list_some(self, space: str, after: str, limit: int) -> None:
        self._all("ask", space, "entries", after=after, limit=limit)

    @rule(space=spaces, name=st.none() | names, limit=st.integers(1, 4))
    def list_runs(self, space: str, name: str | None, limit: int) -> None:
        self._all("ask", space, "runs", name, limit=limit)

    # -- what holds after each step -----------------------------------------------------------------------------------

    @invariant()
    def they_hold_the_same(self) -> None:
        for space in SPACES:
            entries = self._all("ask", space, "entries")
            self.seen[space] += [entry for entry in entries if entry.due is not None and entry not in self.seen[space][-9:]]
            self._all("ask", space, "runs", limit=1000)
            self._all("ask", space, "look", 9e9)
            self._all("ask", space, "revision")
        self._all("sent")

    # -- helpers ------------------------------------------------------------------------------------------------------

    def _all(self, action: str, *arguments: Any, **options: Any) -> Any:
        """Run it in every world; they must answer alike."""
        model, *others = [getattr(world, action)(*arguments, **options) for world in self.worlds]
        for other in others:
            assert other == model, f"{action}{arguments}{options}: the driver says {other}, the model {model}"
        return model

    def _expected(self, space: str, name: str, how: str | None) -> int | None:
        if how in (None, "new"):
            return None if how is None else 0
        known = [entry.revision for entry in self.seen[space] if entry.name == name]
        return (known[-1] if how == "as it stands" else known[0]) if known else 7

    def _tick(self, data: st.DataObject, entry: Entry) -> Tick:
        assert entry.due is not None
        step_s = data.draw(st.sampled_from([None, 0.1, 0.2, 60.0]))
        next_due = None if step_s is None else entry.due + step_s
        runs = tuple(self._run(entry.name, entry.due) for _ in range(data.draw(st.integers(0, 2))))
        messages = tuple(self._messages(data.draw(st.integers(0, 2))))
        revision = entry.revision + data.draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
        return Tick(entry.name, revision, entry.due, next_due, data.draw(st.binary(max_size=3)), runs, messages)

    def _run(self, name: str, due: float, *, is_manual: bool = False) -> Run:
        number = next(self.numbers)
        return Run(name, due, due + number / 7, f"t{number}" if number % 2 else None, "" if number % 2 else "mïssed", is_manual)

    def _messages(self, how_many: int) -> list[Outgoing]:
        return [outgoing(QUEUES[number % 2], f"t{number}") for number in (next(self.numbers) for _ in range(how_many))]


MODEL = (memory_store, None)
SCRIPTS = settings(PROFILE, max_examples=400 if LONG else 40)


def agree(*others: tuple[OpenStore, Callable[[], object] | None]) -> None:
    run_state_machine_as_test(lambda: Agreement([MODEL, *others]), settings=SCRIPTS)


def test_given_any_script_when_sqlite_runs_it_then_its_schedule_is_the_models(tmp_path: Path) -> None:
    agree((lambda: sqlite_store(tmp_path), None))


@pytest.mark.redis
def test_given_any_script_when_redis_runs_it_then_its_schedule_is_the_models(redis_server: RedisServer) -> None:
    agree((lambda: redis_store(redis_server), lambda: redis_server.command("DEL", f"_sedano.lock.{LOCK}")))


@pytest.mark.parametrize("fault", ["any revision", "any moment", "every run stays", "a tick is a change", "names in any order"])
def test_given_a_schedule_with_a_fault_when_it_is_compared_then_some_script_finds_it(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sabotaged(Book):
        def holds(self, tick: Tick) -> bool:
            known = self.get(tick.name)
            if known is not None and fault == "any revision":
                return known.due == tick.due
            if known is not None and fault == "any moment":
                return known.revision == tick.revision
            return super().holds(tick)

        def step(self, tick: Tick, keep: int) -> None:
            super().step(tick, 9 if fault == "every run stays" else keep)
            self.revision += fault == "a tick is a change"

        def after(self, name: str, limit: int) -> list[Entry]:
            found = super().after(name, limit)
            return found[::-1] if fault == "names in any order" else found

    def open_worlds() -> Agreement:
        machine = Agreement([MODEL])
        monkeypatch.setattr("sedano.drivers.memory.store.Book", Sabotaged)
        machine.worlds.append(World(machine.exit.enter_context(memory_store()), None))
        monkeypatch.undo()
        return machine

    once = settings(PROFILE, phases=[Phase.generate], max_examples=1000, derandomize=True, report_multiple_bugs=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(open_worlds, settings=once)

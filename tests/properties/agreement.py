"""The script of the agreement test: what is drawn, what the books say must come of it, what every store must answer."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.contracts.stores import OpenStore
from tests.properties.worlds import GROUPS, LEASE_LOST, QUEUES, TASKS, Turn, World, name_of_raw

from sedano.contracts import BeginRule, Standing
from sedano.drivers.memory.store import store_at

BEGUN = (Standing.BEGUN_EARLY, Standing.BEGUN_LATE)
RULES = [
    None,
    BeginRule(early=True),
    BeginRule(early=False),
    BeginRule(early=True, exceptions=frozenset({"tests.add"})),
    BeginRule(early=False, costs={"tests.add": 10}, budget_us=35, most=8),
    BeginRule(early=True, costs={"tests.add": 10, "tests.other": 1}, budget_us=100, most=2),
]


class Agreement(RuleBasedStateMachine):
    """The script. `worlds[0]` is the model."""

    def __init__(self, opens: list[OpenStore], *, shared_results: bool) -> None:
        super().__init__()
        self.exit = ExitStack()
        self.shared_results = shared_results
        self.worlds = [World(self.exit.enter_context(each()), shared_results=shared_results) for each in opens]
        self.count = 0
        self.now = 1_000_000.0
        self.owners: list[str] = []  # alive
        self.crashed: list[str] = []  # not heard of, not taken over
        self.ghosts: list[str] = []  # taken over or retired
        self.held: dict[str, dict[str, Standing]] = {}
        self.paused: set[str] = set()
        self.queue_of: dict[str, str] = {}  # where a call was taken from
        self.pendings: dict[str, set[str]] = {}  # what each has left to do in another result store
        self.alive: set[str] = set()
        self.dead: set[str] = set()
        self.settled: list[str] = []
        self.touched: set[str] = set()  # was given back, requeued or delayed: its place in the order is no longer its age
        self.taken: dict[tuple[str, int], int] = {}  # the youngest untouched call taken from (queue, step)

    def teardown(self) -> None:
        try:
            self._nothing_is_lost()
        finally:
            self.exit.close()

    @initialize()
    def two_slots(self) -> None:
        self._register()
        self._register()

    # -- producers ----------------------------------------------------------------------------------------------------

    @rule(queue=st.sampled_from(QUEUES), count=st.integers(1, 4), priority=st.sampled_from([0, 0, 0, 2, 3, 5, 9]))
    def publish(self, queue: str, count: int, priority: int) -> None:
        names = [self._new_name() for _ in range(count)]
        self._all("publish", queue, names, priority, [None] * count)

    @rule(queue=st.sampled_from(QUEUES), in_s=st.integers(0, 30), priority=st.sampled_from([0, 3]))
    def publish_for_later(self, queue: str, in_s: int, priority: int) -> None:
        name = self._new_name()
        self.touched.add(name)
        self._all("publish", queue, [name], priority, [self._due(in_s)])

    @rule(queue=st.sampled_from(QUEUES), task=st.sampled_from(TASKS), in_s=st.integers(0, 30), priority=st.sampled_from([0, 3]))
    def park(self, queue: str, task: str, in_s: int, priority: int) -> None:
        name = self._new_name()
        self.touched.add(name)
        self._all("park", queue, name, task, priority, self._due(in_s))

    @rule(queue=st.sampled_from(QUEUES))
    def put_junk(self, queue: str) -> None:
        self._all("put_junk", queue, self._new_name("junk"))

    @rule(queue=st.sampled_from(QUEUES))
    def purge(self, queue: str) -> None:
        before = self.worlds[0].operator.depth([queue])[0].ready
        ready = self._ready_names(queue)
        assert self._all("purge", queue) == before
        self.alive -= ready

    @rule(queues=st.lists(st.sampled_from(QUEUES), unique=True))
    def pause(self, queues: list[str]) -> None:
        self._all("pause", queues)
        self.paused |= set(queues)

    @precondition(lambda self: self.paused)
    @rule(queues=st.lists(st.sampled_from(QUEUES), unique=True))
    def resume(self, queues: list[str]) -> None:
        assert self._all("resume", queues) == [name for name in queues if name in self.paused]
        self.paused -= set(queues)

    # -- slots --------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def reserve(self, data: st.DataObject) -> None:
        queues = tuple(data.draw(st.permutations(QUEUES))[: data.draw(st.integers(1, 3))])
        turn = Turn(reserve=data.draw(st.integers(1, 6)), queues=queues, begin_new=data.draw(st.sampled_from(RULES)))
        self._take_turn(data.draw(st.sampled_from(self.owners)), turn)

    @precondition(lambda self: any(self.held[owner] for owner in self.owners))
    @rule(data=st.data(), reserve=st.integers(0, 4))
    def turn(self, data: st.DataObject, reserve: int) -> None:
        owner = data.draw(st.sampled_from([owner for owner in self.owners if self.held[owner]]))
        queues = tuple(data.draw(st.permutations(QUEUES)))
        turn = Turn(reserve=reserve, queues=queues, begin_new=data.draw(st.sampled_from(RULES)))
        # Both go to a tail, and nobody promises which of two settlements of one turn comes first there.
        last = data.draw(st.sampled_from(["requeue", "ack and send"]))
        for name, standing in list(self.held[owner].items()):
            what = data.draw(st.sampled_from(["keep", "ack", "part", "dead", "delay", "early", "late", last]), label=name)
            is_junk = name.startswith("junk")
            if what == "ack and send":
                turn.settle.append((name, "ack", self._new_name()))
            elif what in ("ack", "requeue", "dead") or (what == "part" and not is_junk):
                turn.settle.append((name, what, ""))
            elif what == "delay":
                turn.delay.append((name, self._due(data.draw(st.integers(0, 30)))))
            elif what in ("early", "late") and standing is Standing.RESERVED:
                turn.begin.append((name, what == "early"))
        if self.pendings[owner]:
            turn.stored = data.draw(st.lists(st.sampled_from(sorted(self.pendings[owner])), unique=True))
        self._take_turn(owner, turn)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def repeat_a_turn_whose_answer_was_lost(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(self.owners))
        reply = self._all("repeat", owner)
        assert isinstance(reply, dict)
        assert reply["chords"] == []
        for name in reply["begun"]:
            assert self.held[owner][name] is not Standing.RESERVED

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), limit=st.integers(1, 4))
    def reserve_and_lose_the_answer(self, data: st.DataObject, limit: int) -> None:
        """Nobody knows what was reserved: releasing everything gives it back."""
        owner = data.draw(st.sampled_from(self.owners))
        self.reserve_by(owner, limit)
        self._give_back(owner, self._names(owner, Standing.RESERVED), everything=True)

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), rule_=st.sampled_from(RULES))
    def begin_the_first_and_lose_the_answer(self, data: st.DataObject, rule_: BeginRule | None) -> None:
        """Nobody knows what was begun but those that were begun before: giving back all others ends that."""
        owner = data.draw(st.sampled_from(self.owners))
        keep = self._names(owner, *BEGUN)
        self._take_turn(owner, Turn(reserve=2, queues=QUEUES, begin_new=rule_))
        begun = [name for name in self._names(owner, *BEGUN) if name not in keep]
        assert self._all("unbegin_all", owner, keep) == len(begun)
        self._went_back(owner, begun)

    @precondition(lambda self: any(self.held[owner] for owner in self.owners))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from([owner for owner in self.owners if self.held[owner]]))
        chosen = data.draw(st.lists(st.sampled_from(sorted(self.held[owner])), unique=True))
        self._give_back(owner, chosen, everything=False)

    @precondition(lambda self: any(self._names(owner, *BEGUN) for owner in self.owners))
    @rule(data=st.data())
    def unbegin(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from([owner for owner in self.owners if self._names(owner, *BEGUN)]))
        chosen = data.draw(st.lists(st.sampled_from(sorted(self.held[owner])), min_size=1, unique=True))
        begun = [name for name in chosen if self.held[owner][name] is not Standing.RESERVED]
        assert self._all("unbegin", owner, chosen) == len(begun)
        self._went_back(owner, begun)

    @precondition(lambda self: len(self.owners) > 1)
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(self.owners))
        reserved = self._names(owner, Standing.RESERVED)
        assert self._all("retire", owner) == len(reserved)
        self._went_back(owner, reserved)
        self.owners.remove(owner)
        if self.held[owner] or self.pendings[owner]:
            self._all("remember", owner)
            self.crashed.append(owner)
        else:
            self.ghosts.append(owner)

    @precondition(lambda self: len(self.owners) < 5)
    @rule()
    def register(self) -> None:
        self._register()

    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        everybody = self.owners + self.ghosts
        owners = data.draw(st.lists(st.sampled_from(everybody), unique=True)) if everybody else []
        assert self._all("renew", owners) == [owner for owner in owners if owner in self.ghosts]

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def reconnect(self, data: st.DataObject) -> None:
        self._all("reconnect", data.draw(st.sampled_from(self.owners)))

    # -- faults -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.owners) > 1)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(self.owners))
        self.owners.remove(owner)
        self.crashed.append(owner)
        self._all("remember", owner)

    @precondition(lambda self: self.crashed and self.owners)
    @rule(data=st.data(), limit=st.integers(1, 5), force=st.booleans())
    def take_over(self, data: st.DataObject, limit: int, force: bool) -> None:
        owner = data.draw(st.sampled_from(self.crashed))
        by = data.draw(st.sampled_from(self.owners))
        self._taken_over(owner, by, limit, force=force)
        self.crashed.remove(owner)
        self.ghosts.append(owner)

    @precondition(lambda self: self.crashed and self.owners)
    @rule(data=st.data())
    def take_over_what_has_beaten_since(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(self.crashed))
        by = data.draw(st.sampled_from(self.owners))
        assert self._all("renew", [owner]) == []
        assert self._all("take_over", owner, by, 5, False) == ([], [])
        self._all("remember", owner)

    @precondition(lambda self: self.ghosts)
    @rule(data=st.data())
    def a_ghost_wakes_up(self, data: st.DataObject) -> None:
        """It was taken over while it was stopped: whatever it does, it is told so and nothing happens."""
        owner = data.draw(st.sampled_from(self.ghosts))
        assert self._all("repeat", owner) == LEASE_LOST
        assert self._all("turn", owner, Turn(reserve=5, queues=QUEUES)) == LEASE_LOST
        assert self._all("release", owner, None) == LEASE_LOST
        assert self._all("unbegin", owner, []) == LEASE_LOST
        assert self._all("retire", owner) == LEASE_LOST

    @precondition(lambda self: self.crashed)
    @rule(data=st.data())
    def a_stopped_slot_goes_on(self, data: st.DataObject) -> None:
        """It was stopped, and nobody took it over: everything it has is still its own."""
        owner = data.draw(st.sampled_from(self.crashed))
        self.crashed.remove(owner)
        self.owners.append(owner)

    # -- schedule and chords ------------------------------------------------------------------------------------------

    @rule(queues=st.lists(st.sampled_from(QUEUES), unique=True), later=st.integers(0, 20), limit=st.sampled_from([1, 3, 1000]))
    def promote(self, queues: list[str], later: int, limit: int) -> None:
        self.now += later
        self._all("promote", queues, self.now, limit)

    @rule(queues=st.lists(st.sampled_from(QUEUES), unique=True), limit=st.integers(1, 3))
    def handback(self, queues: list[str], limit: int) -> None:
        self._all("handback", queues, limit)

    @rule(
        tasks=st.lists(st.sampled_from(TASKS), unique=True),
        queues=st.lists(st.sampled_from(QUEUES), unique=True),
        limit=st.integers(1, 3),
    )
    def unpark(self, tasks: list[str], queues: list[str], limit: int) -> None:
        self._all("unpark", tasks, queues, limit)

    @rule(group=st.sampled_from(GROUPS))
    def start_chord(self, group: str) -> None:
        self._all("start_chord", group)

    # -- what holds at any time ---------------------------------------------------------------------------------------

    @invariant()
    def everybody_sees_the_same(self) -> None:
        seen = self._all("observe", self.settled[-50:])
        counts = [depth.ready + depth.delayed + depth.parked + depth.reserved + depth.begun for depth in seen["depth"]]
        assert sum(counts) == len(self.alive)
        assert sum(depth.dead for depth in seen["depth"]) == len(self.dead)

    def _nothing_is_lost(self) -> None:
        """Whatever state the script left: take over, promote, resume, take everything; every call is there once."""
        self.resume_all()
        self.owners.append(self._register())
        last = self.owners[-1]
        for owner in [owner for owner in self.held if owner not in (*self.ghosts, last)]:
            self._all("remember", owner)
            self._taken_over(owner, last, 100, force=True)
        self._all("promote", list(QUEUES), self.now + 1e9, 1_000_000)
        self.taken.clear()
        self.touched |= self.alive
        self.reserve_by(last, 10_000)
        assert set(self.held[last]) == self.alive

    def resume_all(self) -> None:
        self._all("resume", list(QUEUES))
        self.paused.clear()

    # -- helpers ------------------------------------------------------------------------------------------------------

    def reserve_by(self, owner: str, limit: int) -> None:
        self._take_turn(owner, Turn(reserve=limit, queues=QUEUES))

    def _all(self, action: str, *arguments: Any) -> Any:
        """Run it in every world; they must answer alike."""
        model, *others = [getattr(world, action)(*arguments) for world in self.worlds]
        for other in others:
            assert other == model, f"{action}{arguments}: the driver says {other}, the model {model}"
        return model

    def _register(self) -> str:
        name = f"owner-{len(self.held)}"
        self.held[name] = {}
        self.pendings[name] = set()
        self.owners.append(name)
        self._all("register", name)
        return name

    def _new_name(self, prefix: str = "t") -> str:
        self.count += 1
        name = f"{prefix}{self.count}"
        self.alive.add(name)
        return name

    def _due(self, in_s: int) -> float:
        """Never the same twice: nobody promises an order among equals."""
        self.count += 1
        return self.now + in_s + self.count / 1e6

    def _names(self, owner: str, *standings: Standing) -> list[str]:
        return [name for name, standing in self.held[owner].items() if standing in standings]

    def _ready_names(self, queue: str) -> set[str]:
        """Asked of the model's inside: what lies ready in `queue`."""
        inside = store_at(self.worlds[0].store.url).queues._queues.get(queue)
        lines = inside.ready.values() if inside else ()
        return {name_of_raw(item.raw) for line in lines for item in line}

    def _take_turn(self, owner: str, turn: Turn) -> None:
        reply = self._all("turn", owner, turn)
        held = self.held[owner]
        refused = list(reply["refused"])
        self.pendings[owner] -= set(turn.stored)
        for name, fate, _ in turn.settle:
            assert name not in refused
            del held[name]
            if fate in ("ack", "part", "dead"):
                self.alive.discard(name)
                self.settled.append(name)
            if fate in ("ack", "part") and not self.shared_results:
                self.pendings[owner].add(name)
            if fate == "dead":
                self.dead.add(name)
            if fate == "requeue":
                self.touched.add(name)
        for name, _ in turn.delay:
            assert name not in refused
            del held[name]
            self.touched.add(name)
        assert reply["paused"] == self.paused
        for name, early in turn.begin:
            assert (name in reply["begun"]) is (self.queue_of[name] not in self.paused)
            assert name not in refused
            if name in reply["begun"]:
                held[name] = Standing.BEGUN_EARLY if early else Standing.BEGUN_LATE
        for name, queue, step, _, _, standing in reply["reserved"]:
            self._was_given(owner, name, queue, step)
            held[name] = standing
        begun = [name for name, *_, standing in reply["reserved"] if standing is not Standing.RESERVED]
        first = reply["reserved"][0][0] if reply["reserved"] else None
        may_begin = turn.begin_new is not None and first and not first.startswith("junk")
        assert begun == [name for name, *_ in reply["reserved"][: len(begun)]], "what is begun comes first"
        assert bool(begun) == bool(may_begin)

    def _taken_over(self, owner: str, by: str, limit: int, *, force: bool) -> None:
        taken, pendings = self._all("take_over", owner, by, limit, force)
        assert [(name, standing) for name, standing, _ in taken] == sorted(self.held[owner].items())
        assert pendings == sorted(self.pendings[owner])
        self.held[by] |= self.held[owner]
        self.pendings[by] |= self.pendings[owner]
        self.held[owner], self.pendings[owner] = {}, set()

    def _was_given(self, owner: str, name: str, queue: str, step: int) -> None:
        assert queue not in self.paused, f"{name} was given out, and {queue} is paused"
        self.queue_of[name] = queue
        assert name in self.alive, f"{name} was given out, and it was settled"
        assert not any(name in held for held in self.held.values()), f"{name} was given out, and somebody has it"
        if name not in self.touched:
            number = int(name.lstrip("tjunk"))
            assert number > self.taken.get((queue, step), 0), f"{name} overtook an older call"
            self.taken[queue, step] = number
        self.held[owner][name] = Standing.RESERVED

    def _give_back(self, owner: str, chosen: list[str], *, everything: bool) -> None:
        reserved = [name for name in chosen if self.held[owner][name] is Standing.RESERVED]
        assert self._all("release", owner, None if everything else chosen) == len(reserved)
        self._went_back(owner, reserved)

    def _went_back(self, owner: str, names: list[str]) -> None:
        for name in names:
            del self.held[owner][name]
            self.touched.add(name)

"""Workflows as trees of plain Python, built into signatures and evaluated by hand; and a world that runs what is planned.

The world has no store and no messages: it applies each send as a worker would, counts chords, and knows all values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from hypothesis import strategies as st

from sedano.canvas import Signature, chain, chord, group
from sedano.canvas.nodes import Node
from sedano.canvas.plan import Part, Planner, Send, after_header, after_success, doomed


@dataclass(frozen=True)
class Leaf:
    name: str


@dataclass(frozen=True)
class Chain:
    steps: tuple[Any, ...]


@dataclass(frozen=True)
class Group:
    members: tuple[Any, ...]


@dataclass(frozen=True)
class Chord:
    header: tuple[Any, ...]
    body: Any


def trees(depth: int = 3) -> st.SearchStrategy[Any]:
    """Up to `depth` shapes inside of each other, most of them with two or three parts."""
    found: st.SearchStrategy[Any] = st.builds(Leaf, st.sampled_from("abcd"))
    for _ in range(depth):
        inner = found
        found = st.one_of(
            st.builds(Leaf, st.sampled_from("abcd")),
            st.builds(Chain, st.lists(inner, min_size=1, max_size=3).map(tuple)),
            st.builds(Group, st.lists(inner, min_size=2, max_size=2).map(tuple)),
            st.builds(Chord, st.lists(inner, min_size=1, max_size=2).map(tuple), inner),
        )
    return found


def random_tree(random: Random, depth: int = 3) -> Any:
    """As `trees`, without Hypothesis: for tests that take seconds for each."""

    def some(least: int, most: int) -> tuple[Any, ...]:
        return tuple(random_tree(random, depth - 1) for _ in range(random.randint(least, most)))

    shape = random.randrange(7) if depth else 0
    if shape == 0:
        return Leaf(random.choice("abcd"))
    if shape < 3:
        return Chain(some(1, 3))
    return Group(some(2, 2)) if shape < 5 else Chord(some(1, 2), random_tree(random, depth - 1))


def signature_of(tree: Any, leaf: Callable[[str], Signature[Any]] = Signature) -> Signature[Any]:
    """`leaf` makes the call that a leaf of this name is."""
    match tree:
        case Leaf(name):
            return leaf(name)
        case Chain(steps):
            return chain(*[signature_of(step, leaf) for step in steps])  # type: ignore[no-any-return]
        case Group(members):
            return group(*[signature_of(member, leaf) for member in members])
        case _:
            return chord([signature_of(member, leaf) for member in tree.header], signature_of(tree.body, leaf))


def value_of(tree: Any, given: Any) -> Any:
    """What `tree` gives for `given`, in Python."""
    match tree:
        case Leaf(name):
            return [name, given]
        case Chain(steps):
            for step in steps[:-1]:
                given = value_of(step, given)
            return value_of(steps[-1], given)
        case Group(members):
            return [value_of(member, given) for member in spread(members)]
        case _:
            return value_of(tree.body, [value_of(member, given) for member in spread(tree.header)])


def spread(members: Sequence[Any]) -> list[Any]:
    """Groups among the members of a group are taken apart, also those that stand alone in a chain."""
    found: list[Any] = []
    for member in members:
        while isinstance(member, Chain) and len(member.steps) == 1:
            member = member.steps[0]
        found += spread(member.members) if isinstance(member, Group) else [member]
    return found


@dataclass
class World:
    """Runs sends in the order that `choose(n)` picks among `n` that wait. Tasks named in `failing` fail."""

    choose: Callable[[int], int]
    failing: frozenset[str] = frozenset()
    values: dict[str, Any] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    waiting: list[Send] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    parts: dict[str, dict[tuple[str, int], Any]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    ids: Any = field(default_factory=lambda: (f"id-{number}" for number in count()))
    carried: int = 0

    def planner(self) -> Planner:
        return Planner(lambda: next(self.ids), "reply-here")

    def start(self, signature: Mapping[str, Any], given: Any) -> Node:
        planner = self.planner()
        node = planner.start(signature, (given,))
        self.take(planner)
        return node

    def take(self, planner: Planner) -> None:
        for start in planner.plan.chords:
            assert start.group_id not in self.sizes, "a chord is started twice"
            self.sizes[start.group_id] = start.size
        self.waiting += planner.plan.sends

    def run(self) -> None:
        while self.waiting:
            self.step(self.waiting.pop(self.choose(len(self.waiting))))

    def step(self, send: Send) -> None:
        options = {**send.signature["options"], **send.options}
        task_id, name = options["task_id"], send.signature["task"]
        assert task_id not in self.values.keys() | self.failed, "a call is run twice"
        args = (*send.args, *send.signature["args"])
        assert len(args) == 1
        if name in self.failing:
            self.failed.add(task_id)
            lost = doomed(options.get("chain"))
            self.failed.update(lost.ids)
            parts = list(lost.parts)
            if options.get("chord"):
                parts.append(Part(task_id, options["group_id"], options.get("group_index") or 0, options["chord"]))
            for part in parts:
                self.count(part, None, True)
            return
        self.values[task_id] = value = args[0] if name == "celery.accumulate" else [name, args[0]]
        planner = self.planner()
        after_success(planner, value, task_id=task_id, root_id=None, callbacks=None, chain=options.get("chain"), priority=None)
        self.take(planner)
        if options.get("chord"):
            self.count(Part(task_id, options["group_id"], options["group_index"], options["chord"]), value, False)

    def count(self, part: Part, value: Any, is_failed: bool) -> None:
        counted = self.parts.setdefault(part.group_id, {})
        assert (part.task_id, part.group_index) not in counted, "a part is counted twice"
        counted[part.task_id, part.group_index] = (is_failed, value)
        assert part.group_id not in self.done, "a chord got more parts than it has"
        if len(counted) < self.sizes[part.group_id]:
            return
        self.done.add(part.group_id)
        if any(failed for failed, _ in counted.values()):
            lost = doomed([part.body])
            self.failed.update(lost.ids)
            for other in lost.parts:
                self.count(other, None, True)
            return
        values = [each[1] for _, each in sorted(counted.items(), key=lambda item: item[0][1])]
        planner = self.planner()
        after_header(planner, part.body, values, task_id=part.task_id, root_id=None)
        self.take(planner)

    def value(self, node: Node) -> Any:
        return self.values[node.id] if node.members is None else [self.value(member) for member in node.members]


def calls_of(node: Node) -> list[str]:
    """Ids of all calls among a result, its members and parents."""
    found: list[str] = []
    for each in node.ancestors():
        if each.members is None:
            found.append(each.id)
        else:
            found += [call for member in each.members for call in calls_of(member)]
    return found

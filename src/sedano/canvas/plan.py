"""What is to be sent: to start a workflow, and when a call of one is over. Outcome in, sends out. Pure; wire-protocol 1.1, 1.2.

There is one way out for everything: freeze (`freezing.py`), then `Planner.send`. A call goes out as itself; a chain as its
first step, which takes the others along; a group as its members; a chord as the members of its header, each of which takes the
body along. What is left over are the chords that have to be counted.

| what ended | how | goes out |
|---|---|---|
| a call | success | its callbacks, then the next step of its chain with the rest; its part of its chord |
| a call | failure | its errbacks; FAILURE for all later steps of its chain, and for their parts of a chord |
| a chord's header | all succeeded | the body, with the list of their results |
| a chord's header | some failed | FAILURE (`ChordError`) for the body and what comes after it, its errbacks |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from sedano.canvas import shapes
from sedano.canvas.freezing import NOWHERE, Freezer, Place
from sedano.canvas.nodes import Node
from sedano.canvas.outline import OutlineWriter
from sedano.canvas.shapes import Map, options_of


class Send(msgspec.Struct, gc=False):
    """Apply `signature` (the map of one call): `args` go before its own and `kwargs` over its own unless it is immutable,
    `options` over its own."""

    signature: Map
    args: tuple[Any, ...]
    kwargs: Map
    options: dict[str, Any]


class ChordStart(msgspec.Struct, frozen=True):
    """A chord whose header goes out: how many parts it has."""

    group_id: str
    size: int


class Part(msgspec.Struct, frozen=True):
    """A header task's place in its chord, whose `body` goes out when all parts are there."""

    task_id: str
    group_id: str
    group_index: int
    body: Map


class Doomed(msgspec.Struct, frozen=True):
    """What fails along with a call, because it will never run: ids of calls, and their parts of chords."""

    ids: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()


class Plan(msgspec.Struct):
    """`children` are what the call that sends this has among its children, a group as one."""

    sends: list[Send] = []
    chords: list[ChordStart] = []
    children: list[Node] = []

    def sizes(self) -> dict[str, int]:
        """How many parts each chord has, by group id."""
        return {start.group_id: start.size for start in self.chords}


class Planner:
    """Collects what goes out into `plan`. `new_id` makes ids, `reply_to` is for calls that have none; `outline`, where it is
    asked for, is told what each call is a part of."""

    def __init__(self, new_id: Callable[[], str], reply_to: str | None = None, outline: OutlineWriter | None = None) -> None:
        self.plan = Plan()
        self._outline = outline
        self._freezer = Freezer(new_id, reply_to)

    def start(
        self,
        signature: Map,
        args: Sequence[Any] = (),
        kwargs: Map | None = None,
        options: Map | None = None,
        place: Place = NOWHERE,
    ) -> Node:
        """Send a signature of any shape; returns its result. `args` and `kwargs` are for what runs first."""
        frozen, node = self._freezer.freeze(signature, place)
        if self._outline is not None:
            self._outline.whole(frozen)
        self.plan.children.append(self._send(frozen, node, tuple(args), kwargs or {}, dict(options or {})))
        return node

    # -- one shape each -----------------------------------------------------------------------------------------------

    def _send(self, frozen: Map, node: Node, args: tuple[Any, ...], kwargs: Map, options: dict[str, Any]) -> Node:
        """Send what is frozen; returns what the sender has as its child."""
        shape = shapes.kind(frozen)
        if shape == "chain":
            return self._send_chain(frozen, node, args, kwargs, options)
        if shape == "group":
            return self._send_group(frozen, node, args, kwargs, options)
        if shape == "chord":
            return self._send_chord(frozen, node, args, kwargs, options)
        own = options_of(frozen).get("chain")
        if own is not None or options.get("chain") is not None:
            options["chain"] = [*(options.get("chain") or ()), *(own or ())]
        self.plan.sends.append(Send(frozen, args, kwargs, options))
        return Node(node.id)

    def _send_chain(self, frozen: Map, node: Node, args: tuple[Any, ...], kwargs: Map, options: dict[str, Any]) -> Node:
        links = [shapes.listed(options.pop(name, None)) for name in ("link", "link_error")]
        steps = shapes.tasks_of(shapes.with_callbacks(frozen, *links))
        own = {name: value for name, value in options_of(frozen).items() if name not in _OF_THE_LAST_STEP}
        later = [*(options.pop("chain", None) or ()), *(own.pop("chain", None) or ()), *reversed(steps[1:])]
        options = {**own, **options}
        options.pop("task_id", None)
        return self._send(steps[0], node.first, args, kwargs, {**options, "chain": later})

    def _send_group(self, frozen: Map, node: Node, args: tuple[Any, ...], kwargs: Map, options: dict[str, Any]) -> Node:
        options = {**options_of(frozen), **options}
        later = options.pop("chain", None)
        if later:  # a group and what comes after it are a chord
            chord, body = self._freezer.freeze(shapes.new_chord(frozen, later[-1]))
            return self._send(chord, body, args, kwargs, {**options, "chain": later[:-1]})
        shared = {name: value for name, value in options.items() if name not in _OF_THE_GROUP}
        members, _ = self._freezer.members(shapes.tasks_of(frozen), Place(group_id=node.id))
        for member, result in zip(members, node.members or (), strict=True):
            self._send(member, result, args, kwargs, dict(shared))
        return Node(node.id, members=node.members)

    def _send_chord(self, frozen: Map, node: Node, args: tuple[Any, ...], kwargs: Map, options: dict[str, Any]) -> Node:
        header, parent = shapes.header_of(frozen), node.first
        to_header, body, group_id = _chord_parts(frozen, args, kwargs, options)
        if not header:
            parent_id = options.get("parent_id") or options_of(frozen).get("parent_id")
            result = self._freezer.freeze(body)[1]
            return self._send(body, result, ([],), {}, {"parent_id": parent_id} if parent_id else {})
        body, _ = self._freezer.freeze(body, Place(group_id=group_id))
        index = size = 0
        for member, result in zip(shapes.flat(header), parent.members or (), strict=True):
            one = self._counted(member, body, group_id, index)
            count = shapes.size_of(one)
            index += count or 1
            size += count
            self._send(one, result, to_header.args, to_header.kwargs, dict(to_header.options))
        self.plan.chords.append(ChordStart(group_id, size))
        return Node(group_id, members=parent.members)

    def _counted(self, member: Map, body: Map, group_id: str, index: int) -> Map:
        """A frozen member of a chord's header as it goes out: its results are parts of the chord, the first at `index`."""
        if shapes.kind(member) == "task":  # there may be very many of them
            placed = {**options_of(member), "group_id": group_id, "group_index": index, "chord": body}
            return {**member, "options": placed}
        frozen, _ = self._freezer.freeze(member, Place(group_id=group_id, group_index=index, counts=True))
        return _with_chord(frozen, body)

    def grow(
        self, chord: Map, members: Iterable[Map], args: Sequence[Any], kwargs: Map, options: Map, place: Place
    ) -> Iterator[Node]:
        """Send a chord whose header comes bit by bit: what `plan` holds when this yields (the chord's result) is to go out.

        The last time `plan.chords` says how many parts the chord has; there is at least one member.
        """
        empty = {**chord, "kwargs": {**chord["kwargs"], "header": ()}}
        frozen, node = self._freezer.freeze(empty, place)
        to_header, body, group_id = _chord_parts(frozen, tuple(args), kwargs, dict(options))
        body, _ = self._freezer.freeze(body, Place(group_id=group_id))
        where = Place(group_id=group_id, root_id=place.root_id, parent_id=place.parent_id, counts=True)
        results: list[Node] = []
        node.first.members = results
        if self._outline is not None:
            self._outline.begin_chord(group_id)
        size = 0
        for member in (one for given in members for one in shapes.flat([given])):
            if results:
                yield node
            one, result = self._freezer.freeze(shapes.with_one_result(member), replace(where, group_index=size))
            results.append(result)
            if self._outline is not None:
                self._outline.member(one)
            count = shapes.size_of(one)
            size += count or 1
            self._send(_with_chord(one, body), result, to_header.args, to_header.kwargs, dict(to_header.options))
        if self._outline is not None:
            self._outline.end_chord(body)
        self.plan.chords.append(ChordStart(group_id, size))
        self.plan.children.append(Node(group_id, members=results))
        yield node


def after_success(
    planner: Planner,
    value: Any,
    *,
    task_id: str,
    root_id: str | None,
    callbacks: Sequence[Any] | None,
    chain: Sequence[Any] | None,
    priority: int | None,
) -> None:
    """Send the callbacks (several go out as one group), then the next step of the chain with the rest of it.

    `chain` is reversed: its last item is next. `priority` is the call's own when children inherit it, else None.
    """
    inherited: dict[str, Any] = {"parent_id": task_id, "root_id": root_id or task_id}
    if priority is not None:
        inherited["priority"] = priority
    together = [callback for callback in callbacks or () if shapes.kind(callback) != "group"]
    for callback in callbacks or ():
        if shapes.kind(callback) == "group":
            planner.start(callback, (value,), options=inherited)
    if len(together) == 1:
        planner.start(together[0], (value,), options=inherited)
    elif together:
        planner.start(_group_of(together), (value,), options=inherited)
    if chain:
        planner.start(chain[-1], (value,), options={**inherited, "chain": list(chain[:-1])})


def after_failure(planner: Planner, errbacks: Sequence[Any] | None, *, task_id: str, root_id: str | None) -> None:
    """Send the errbacks that are sent as tasks: one group, each with the failed call's id as its argument."""
    if errbacks:
        inherited = {"parent_id": task_id, "root_id": root_id or task_id}
        planner.start(_group_of(errbacks), (task_id,), options=inherited)


def after_header(planner: Planner, body: Map, values: Sequence[Any], *, task_id: str, root_id: str | None) -> None:
    """Send a chord's body with the results of its header, which `task_id` has completed."""
    root = options_of(body).get("root_id") or root_id or task_id
    planner.start(body, (list(values),), options={"parent_id": task_id, "root_id": root})


def doomed(steps: Sequence[Any] | None) -> Doomed:
    """What will never run when the call before `steps` (of a chain, or a chord's body) has failed."""
    ids: dict[str, None] = {}
    parts: dict[tuple[str, str], Part] = {}
    for step in steps or ():
        for call in _calls(step):
            options = options_of(call)
            task_id = options.get("task_id")
            if not isinstance(task_id, str):
                continue
            ids[task_id] = None
            body, group_id = options.get("chord"), options.get("group_id")
            if isinstance(body, Mapping) and group_id:
                parts[group_id, task_id] = Part(task_id, group_id, options.get("group_index") or 0, body)
    waiting = _waits_for(parts.values(), ids)
    return Doomed(tuple(ids), tuple(part for part in parts.values() if part.group_id in waiting))


def errbacks_of(body: Map) -> list[tuple[Map, list[Any]]]:
    """Who is told when the header of a chord has failed: the results that `body` has, each with its errbacks.

    A group has the results of its members, a chord that of its own body, everything else one.
    """
    shape = shapes.kind(body)
    own = shapes.listed(options_of(body).get("link_error"))
    inner: Sequence[Map] = ()
    if shape == "group":
        inner = list(shapes.flat(shapes.tasks_of(body)))
    elif shape == "chord":
        inner = [each for each in (shapes.body_of(body),) if each is not None]
    if not inner:
        return [(body, _errbacks_of_chain(body, own))]
    found = [each for member in inner for each in errbacks_of(member)]
    first, errbacks = found[0]
    return [(first, errbacks + [each for each in own if not any(each in told for _, told in found)]), *found[1:]]


def _errbacks_of_chain(body: Map, own: list[Any]) -> list[Any]:
    found = list(own)
    for step in shapes.tasks_of(body) if shapes.kind(body) == "chain" else ():
        for _, errbacks in errbacks_of(step):
            found += [errback for errback in errbacks if errback not in found]
    return found


# What a chain's own options say of its last step, and freezing has written there.
_OF_THE_LAST_STEP = frozenset({"task_id", "link", "link_error", "chord", "group_id", "group_index", "reply_to"})
# What a group's own options say of the group, and not of each member; links stand on the members already.
_OF_THE_GROUP = frozenset({"task_id", "link", "link_error", "chord", "group_id", "group_index", "chain"})
# What a chord's options say of its header only.
_OF_THE_HEADER = frozenset({"parent_id", "group_id", "group_index", "chord"})


class _ToHeader(msgspec.Struct):
    """What each member of a chord's header is sent with."""

    args: tuple[Any, ...]
    kwargs: Map
    options: dict[str, Any]


def _chord_parts(frozen: Map, args: tuple[Any, ...], kwargs: Map, options: Map) -> tuple[_ToHeader, Map, str]:
    """What a chord that is sent so says of its header, its body, and its group id."""
    args = args if frozen.get("immutable") else (*args, *(frozen.get("args") or ()))
    kwargs = {**(frozen["kwargs"].get("kwargs") or {}), **kwargs}
    options = {**options_of(frozen), **options}
    delay = {name: options.pop(name) for name in ("countdown", "eta") if options.get(name) is not None}
    group_id = options.pop("task_id")
    later = options.pop("chain", None)
    links = [shapes.listed(options.pop(name, None)) for name in ("link", "link_error")]
    body: Map = shapes.with_callbacks(shapes.body_of(frozen) or {}, *links)
    for_body = {name: value for name, value in options.items() if name not in _OF_THE_HEADER and value is not None}
    if later:
        for_body["chain"] = [*later, *(options_of(body).get("chain") or ())]
    body = {**body, "options": {**options_of(body), **for_body}}
    shared = {name: value for name, value in options.items() if name not in _OF_THE_GROUP}
    return _ToHeader(args, kwargs, {**shared, **delay}), body, group_id


def _with_chord(member: Map, body: Map) -> Map:
    """A header member whose last calls (those that give the chord its results) take the body along."""
    shape = shapes.kind(member)
    if shape in ("chain", "group"):
        tasks = shapes.tasks_of(member)
        if shape == "chain":
            tasks[-1:] = [_with_chord(task, body) for task in tasks[-1:]]
        else:
            tasks = [_with_chord(task, body) for task in tasks]
        return {**member, "kwargs": {**member["kwargs"], "tasks": tasks}}
    if shape == "chord":
        inner = shapes.body_of(member)
        return member if inner is None else {**member, "kwargs": {**member["kwargs"], "body": _with_chord(inner, body)}}
    return {**member, "options": {**options_of(member), "chord": body}}


def _calls(signature: Any) -> Iterator[Map]:
    """Every call of a workflow that is still to come, the chain that waits behind it included."""
    stack = [signature]
    while stack:
        each = stack.pop()
        if not isinstance(each, Mapping):
            continue
        stack += shapes.listed(options_of(each).get("chain"))
        shape = shapes.kind(each)
        if shape in ("chain", "group"):
            stack += shapes.tasks_of(each)
        elif shape == "chord":
            stack += [*shapes.header_of(each), shapes.body_of(each)]
        else:
            yield each


def _waits_for(parts: Iterable[Part], ids: Mapping[str, None]) -> set[str]:
    """The groups of chords whose body is not doomed itself: there somebody waits for the parts."""
    bodies = {part.group_id: part.body for part in parts}
    return {
        group_id
        for group_id, body in bodies.items()
        if not any(options_of(call).get("task_id") in ids for call in _calls(body))
    }


def _group_of(signatures: Sequence[Any]) -> dict[str, Any]:
    return {**shapes.call("celery.group", {"tasks": list(signatures)}), "subtask_type": "group"}

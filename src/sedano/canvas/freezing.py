"""Freezing: every call of a workflow gets its id and its place, so that its results are known before anything is sent.

What is frozen already keeps its ids: a chain's later steps arrive frozen in a message, and freezing them again changes nothing.
The signature that is given is never changed; the frozen one is a new map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from sedano.canvas import shapes
from sedano.canvas.nodes import Node
from sedano.canvas.shapes import Map


class Place(msgspec.Struct, frozen=True):
    """Where a part stands: what freezing writes into its options.

    `group_index` counts results of the group's chord: a member that gives several takes as many places.
    """

    task_id: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    chord: Map | None = None
    root_id: str | None = None
    parent_id: str | None = None
    counts: bool = False  # its results are parts of the chord `group_id`, wherever it stood before


NOWHERE = Place()


class Freezer(msgspec.Struct, frozen=True):
    """`new_id` makes ids; `reply_to` is written into each call that has none."""

    new_id: Callable[[], str]
    reply_to: str | None = None

    def freeze(self, signature: Map, place: Place = NOWHERE) -> tuple[dict[str, Any], Node]:
        """The frozen map of a call, chain, group or chord, and its result. An empty chain has no result: ValueError."""
        shape = shapes.kind(signature)
        if shape == "task":
            return self._call(signature, place)
        if shape == "chain":
            return self._chain(signature, place)
        if shape == "chord":
            return self._chord(signature, place)
        return self._group(shapes.as_group(signature) if shape == "chunks" else signature, place)

    def _call(self, signature: Map, place: Place) -> tuple[dict[str, Any], Node]:
        options = dict(shapes.options_of(signature))
        task_id = options.get("task_id")
        if task_id is None:
            task_id = options["task_id"] = place.task_id or self.new_id()
        if self.reply_to is not None and "reply_to" not in options:
            options["reply_to"] = self.reply_to
        _put(options, place)
        return {**signature, "options": options}, Node(task_id)

    def _chain(self, signature: Map, place: Place) -> tuple[dict[str, Any], Node]:
        steps = shapes.steps_of(signature)
        if not steps:
            raise ValueError("an empty chain has no result")
        if len(steps) == 1 and not _wants_options(signature):
            first = _with_args(steps[0], signature)
            return self.freeze(first, place)
        between = Place(root_id=place.root_id)
        frozen: list[dict[str, Any]] = []
        node: Node | None = None
        steps[0] = _with_args(steps[0], signature)
        for position, step in enumerate(steps):
            where = place if position == len(steps) - 1 else between
            if position:
                where = replace(where, parent_id=None)
            one, result = self.freeze(step, where)
            frozen.append(one)
            if node is not None:
                result.first.parent = node
            node = result
        assert node is not None
        own = {name: value for name, value in shapes.options_of(signature).items() if name not in _DONE_BY_STEPS}
        own["task_id"] = node.id
        _put(own, replace(place, chord=None))
        chain = {**signature, "args": (), "kwargs": {"tasks": frozen}, "options": own, "immutable": False}
        return chain, node

    def _group(self, signature: Map, place: Place) -> tuple[dict[str, Any], Node]:
        options = dict(shapes.options_of(signature))
        errbacks = shapes.listed(options.pop("link_error", None))  # a group has none of its own: its members do
        signature = shapes.with_callbacks(signature, (), errbacks)
        group_id = options.get("task_id") or place.task_id or self.new_id()
        options["task_id"] = group_id
        _put(options, place)
        members, nodes = self.members(shapes.tasks_of(signature), replace(place, task_id=None), place.group_index or 0)
        frozen = {**signature, "kwargs": {**signature["kwargs"], "tasks": members}, "options": options}
        return frozen, Node(group_id, members=nodes)

    def members(self, members: list[Map], place: Place, base: int = 0) -> tuple[list[dict[str, Any]], list[Node]]:
        """The members of a group, at places from `base` on. They are told their group only when it goes out (`place` names it
        then): a Celery worker that runs it later gives a chord another id than it was frozen with, and would not find them."""
        frozen: list[dict[str, Any]] = []
        nodes: list[Node] = []
        index = base
        for member in shapes.flat(members):
            one, node = self.freeze(member, replace(place, group_index=index))
            frozen.append(one)
            nodes.append(node)
            index += shapes.size_of(one) or 1
        return frozen, nodes

    def _chord(self, signature: Map, place: Place) -> tuple[dict[str, Any], Node]:
        body = shapes.body_of(signature)
        if body is None:
            raise TypeError("a chord needs a body: give one, chord(header, body) or chord(header)(body)")
        options = dict(shapes.options_of(signature))
        kwargs = signature["kwargs"]
        given = kwargs.get("header")
        is_group = isinstance(given, Mapping) and shapes.kind(given) == "group"
        header_options = dict(shapes.options_of(given)) if is_group else {}
        group_id = header_options.get("task_id") or self.new_id()
        if not is_group and options.get("task_id") and not place.task_id:  # given to chord(): the id of what it results in
            place = replace(place, task_id=options["task_id"])
        callbacks = [shapes.listed(options.pop(name, None)) for name in ("link", "link_error")]
        body = shapes.with_callbacks(body, *callbacks)
        for name in ("group_id", "group_index", "chord"):  # said of a chord, it is meant of its result
            if options.get(name) is not None:
                place = replace(place, **{name: options[name]}) if getattr(place, name) is None else place
                del options[name]
        frozen_body, node = self.freeze(body, replace(place, parent_id=None))
        header = [shapes.with_one_result(member) for member in shapes.flat(shapes.header_of(signature))]
        members, nodes = self.members(header, Place(root_id=place.root_id, parent_id=place.parent_id))
        group_node = Node(group_id, members=nodes)
        node.first.parent = group_node
        group = {
            **shapes.call("celery.group", {"tasks": members}),
            "subtask_type": "group",
            "options": {**header_options, "task_id": group_id},
        }
        options["task_id"] = group_id
        for name in ("root_id", "parent_id"):
            if getattr(place, name):
                options[name] = getattr(place, name)
        return {**signature, "kwargs": {**kwargs, "header": group, "body": frozen_body}, "options": options}, node


_DONE_BY_STEPS = frozenset({"task_id", "chord", "group_id", "group_index", "link", "link_error"})


def _put(options: dict[str, Any], place: Place) -> None:
    if place.root_id:
        options["root_id"] = place.root_id
    if place.parent_id:
        options["parent_id"] = place.parent_id
    if place.group_id and (place.counts or "group_id" not in options):
        options["group_id"] = place.group_id
    if place.chord is not None:
        options["chord"] = place.chord
    if place.group_index is not None and (place.counts or "group_index" not in options):
        options["group_index"] = place.group_index


def _with_args(step: Map, chain: Map) -> Map:
    """The first step of a chain takes the chain's own arguments before its own."""
    from_chain: tuple[Any, ...] = tuple(chain.get("args") or ())
    if not from_chain or step.get("immutable"):
        return step
    if shapes.kind(step) == "group":
        members = [_with_args(member, chain) for member in shapes.flat(shapes.tasks_of(step))]
        return {**step, "kwargs": {**step["kwargs"], "tasks": members}}
    return {**step, "args": (*from_chain, *(step.get("args") or ()))}


def _wants_options(chain: Map) -> bool:
    return any(
        name not in _DONE_BY_STEPS and name not in ("root_id", "parent_id", "reply_to") for name in shapes.options_of(chain)
    )

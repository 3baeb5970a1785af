"""The outline of a workflow: its calls by name and id, and how they are nested. What is kept of a workflow when it is sent.

Written once, for perhaps 100,000 calls, so its form is small: the *shape* without ids, in which equal neighbours stand once
with their number, and beside it all ids in the order in which the shape is walked (16 bytes each where they are UUIDs).

    a call     "proj.add"                     its id
    a chain    ["chain", [runs]]              nothing: its steps
    a group    ["group", [runs]]              the group's id, its members
    a chord    ["chord", [runs], body]        the header's group id, its members, the body

A run is `[how many, shape]`.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from sedano.canvas import shapes
from sedano.canvas.shapes import Map

VERSION = 1


class Outline(msgspec.Struct, gc=False):
    """A call (`task` is its name), or a chain, group or chord of `parts`.

    `id` is a call's own, a group's, and of a chord its header's; a chain has none but that of its last step. The last part of a
    chord is its body, the others are its header.
    """

    kind: str
    id: str
    task: str = ""
    parts: list[Outline] = []

    @property
    def header(self) -> list[Outline]:
        return self.parts[:-1]

    @property
    def body(self) -> Outline:
        return self.parts[-1]

    def calls(self) -> Iterator[Outline]:
        """Every call, in the order of the outline."""
        stack: list[Outline] = [self]
        while stack:
            one = stack.pop()
            if one.kind == "call":
                yield one
            else:
                stack += reversed(one.parts)

    def ids(self) -> Iterator[str]:
        """The ids of everything that has one."""
        stack: list[Outline] = [self]
        while stack:
            one = stack.pop()
            if one.kind != "chain":
                yield one.id
            stack += reversed(one.parts)


class WorkflowRecord(msgspec.Struct, array_like=True):
    """`id` is that of the workflow's result; `sent_at` Unix seconds. `root_id` is what all its calls name as their root, ""
    when there are several roots; `parent_id` the call that sent it, "" for none. `ids` as one text of bytes, or a list."""

    version: int
    id: str
    sent_at: float
    root_id: str
    parent_id: str
    shape: Any
    ids: bytes | list[str]


class OutlineWriter:
    """Collects the outline of what goes out."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._header: list[list[Any]] = []
        self._shape: Any = None

    def whole(self, frozen: Map) -> None:
        """All of it at once, as it was frozen."""
        self._shape = self._add(frozen)

    def begin_chord(self, group_id: str) -> None:
        """A chord whose header comes bit by bit: `member` for each, then `end_chord`."""
        self._ids.append(group_id)

    def member(self, frozen: Map) -> None:
        _append(self._header, self._add(frozen))

    def end_chord(self, body: Map) -> None:
        self._shape = ["chord", self._header, self._add(body)]

    @property
    def is_workflow(self) -> bool:
        """Whether it is more than one plain call."""
        return isinstance(self._shape, list)

    def record(self, id_: str, sent_at: float, root_id: str, parent_id: str) -> bytes:
        record = WorkflowRecord(VERSION, id_, sent_at, root_id, parent_id, self._shape, packed(self._ids))
        return _encoder.encode(record)

    def _add(self, frozen: Map) -> Any:
        kind, options = shapes.kind(frozen), shapes.options_of(frozen)
        if kind == "chain":
            return ["chain", self._runs(shapes.tasks_of(frozen))]
        if kind == "group":
            self._ids.append(_text(options.get("task_id")))
            return ["group", self._runs(shapes.tasks_of(frozen))]
        if kind == "chord":
            self._ids.append(_text(options.get("task_id")))
            return ["chord", self._runs(shapes.header_of(frozen)), self._add(shapes.body_of(frozen) or {})]
        self._ids.append(_text(options.get("task_id")))
        return _text(frozen.get("task"))

    def _runs(self, members: Sequence[Map]) -> list[list[Any]]:
        runs: list[list[Any]] = []
        for member in members:
            _append(runs, self._add(member))
        return runs


def _append(runs: list[list[Any]], shape: Any) -> None:
    if runs and runs[-1][1] == shape:
        runs[-1][0] += 1
    else:
        runs.append([1, shape])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(WorkflowRecord)
_ID_LENGTH = 36


def packed(ids: Sequence[str]) -> bytes | list[str]:
    """The ids as bytes, if all of them are UUIDs as `new_id` writes them."""
    text = "".join(ids)
    if len(text) == _ID_LENGTH * len(ids) and all(len(one) == _ID_LENGTH for one in ids):
        try:
            data = binascii.unhexlify(text.replace("-", ""))
        except ValueError:
            return list(ids)
        if unpacked(data) == ids:
            return data
    return list(ids)


def unpacked(ids: bytes | list[str]) -> list[str]:
    if isinstance(ids, list):
        return ids
    text = ids.hex()
    return [
        f"{text[i : i + 8]}-{text[i + 8 : i + 12]}-{text[i + 12 : i + 16]}-{text[i + 16 : i + 20]}-{text[i + 20 : i + 32]}"
        for i in range(0, len(text), 32)
    ]


def read_record(data: bytes) -> WorkflowRecord:
    """Raises msgspec.DecodeError when the bytes are no record, or one of a newer version."""
    record = _decoder.decode(data)
    if record.version != VERSION:
        raise msgspec.DecodeError(f"a record of version {record.version}; this Sedano reads version {VERSION}")
    return record


def outline_of(record: WorkflowRecord) -> Outline:
    """Raises ValueError when ids are missing."""
    return _outline(record.shape, iter(unpacked(record.ids)))


def _outline(shape: Any, ids: Iterator[str]) -> Outline:
    if isinstance(shape, str):
        return Outline("call", _next(ids), shape)
    kind, runs = shape[0], shape[1]
    own = "" if kind == "chain" else _next(ids)
    parts = [_outline(each, ids) for count, each in runs for _ in range(count)]
    if kind == "chord":
        parts.append(_outline(shape[2], ids))
    return Outline(kind, own, parts=parts)


def _next(ids: Iterator[str]) -> str:
    found = next(ids, None)
    if found is None:
        raise ValueError("the record of a workflow has fewer ids than calls")
    return found


def holds(record: bytes, task_id: str) -> bool:
    """Whether a record names this id; quick, without reading it."""
    compact = packed([task_id])
    return (compact if isinstance(compact, bytes) else task_id.encode()) in record or task_id.encode() in record


def described(shape: Any) -> str:
    """A shape in a few words: "chain of 3", "group of 100 proj.add"."""
    if isinstance(shape, str):
        return shape
    kind, runs = shape[0], shape[1]
    count = sum(run[0] for run in runs)
    same = f" {runs[0][1]}" if len(runs) == 1 and isinstance(runs[0][1], str) else ""
    text = f"{kind} of {count}{same}"
    return f"{text}, then {described(shape[2])}" if kind == "chord" else text

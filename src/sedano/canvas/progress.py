"""How far a workflow is: from its outline, the results of its calls and where their messages are, to what each part does or
waits for, and the tree that shows it. Pure.

| a call has | its status |
|---|---|
| a final record | that state |
| no final record, and a message | queued, delayed, parked, reserved, running, a dead letter |
| neither, and something before it is not over | waits: for a step, for tasks of a header |
| neither, and nothing before it | sent: its message is on its way from one place to another, or another worker runs it |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from sedano import states
from sedano.canvas.outline import Outline

SHOWN = 3
"""How many of several that are alike are named."""


class Fact(msgspec.Struct, frozen=True, gc=False):
    """What is known of one call. `state` is that of its record, PENDING without one; `done` when it ended, as its record says.
    `message` says where its message is, "" when it was not found; `sent` lists what it has sent besides, by id."""

    state: str = states.PENDING
    done: str = ""
    error: str = ""
    message: str = ""
    sent: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        return self.state in states.READY_STATES


UNKNOWN = Fact()
_SENT = "in no queue: on its way, run by a worker of another kind, or replaced by what it sent"

RUNS = frozenset({states.STARTED, states.RETRY, "running"})
"""Statuses of what has begun and is not over."""

Facts = Mapping[str, Fact]


class Part(msgspec.Struct, gc=False):
    """One part of the tree. `status` is a state, or a word for one that has none; `why` says more, for people."""

    kind: str
    id: str
    task: str
    status: str
    why: str = ""
    done: str = ""
    parts: list[Part] = []
    role: str = ""  # "header" or "body" of a chord, the number of a step
    sent: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        return self.status in states.READY_STATES

    def calls(self) -> Iterator[Part]:
        stack: list[Part] = [self]
        while stack:
            one = stack.pop()
            if one.kind == "call":
                yield one
            else:
                stack += reversed(one.parts)


def progress_of(outline: Outline, facts: Facts) -> Part:
    """The tree with what each part does or waits for."""
    return _part(outline, facts, "")


def _part(outline: Outline, facts: Facts, waits_for: str) -> Part:
    """`waits_for` says what must be over before this part begins, "" for nothing."""
    if outline.kind == "call":
        return _call(outline, facts.get(outline.id, UNKNOWN), waits_for)
    if outline.kind == "chain":
        parts = _steps(outline.parts, facts, waits_for)
    elif outline.kind == "group":
        parts = [_part(member, facts, waits_for) for member in outline.parts]
    else:
        members = [_part(member, facts, waits_for) for member in outline.header]
        header = Part("group", outline.id, "", _together(members), parts=members, role="header")
        body = _part(outline.body, facts, waits_for or _header_left(header))
        body.role = "body"
        parts = [header, body]
    return Part(outline.kind, outline.id, "", _together(parts), parts=parts)


def _steps(steps: Sequence[Outline], facts: Facts, waits_for: str) -> list[Part]:
    parts: list[Part] = []
    for number, step in enumerate(steps, 1):
        part = _part(step, facts, waits_for)
        part.role = str(number)
        parts.append(part)
        if not waits_for and part.status != states.SUCCESS:
            waits_for = f"waits for step {number}"
    return parts


def _call(outline: Outline, fact: Fact, waits_for: str) -> Part:
    status, why = fact.state, fact.error
    if not fact.is_over:
        if fact.message:
            why = fact.message
            status = fact.state if fact.state != states.PENDING else why.partition(" ")[0].rstrip(":,")
        elif waits_for and fact.state == states.PENDING:
            status, why = "waits", waits_for
        elif fact.state == states.PENDING:
            status, why = "sent", _SENT
    return Part("call", outline.id, outline.task, status, why, fact.done, sent=fact.sent)


def _header_left(header: Part) -> str:
    left = [next((call.id for call in member.calls() if not call.is_over), "") for member in header.parts]
    open_ids = [id_ for id_ in left if id_]
    if not open_ids:
        return ""
    return f"waits for {len(open_ids)} of {len(left)} header tasks: {_some(open_ids)}"


def _some(ids: Sequence[str]) -> str:
    more = len(ids) - SHOWN
    return ", ".join(ids[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _together(parts: Sequence[Part]) -> str:
    """The status of what has these parts."""
    statuses = {part.status for part in parts}
    if statuses <= {states.SUCCESS}:
        return states.SUCCESS
    for bad in (states.FAILURE, states.REVOKED):
        if bad in statuses:
            return bad
    return "running" if statuses & RUNS or states.SUCCESS in statuses else "waiting"


class Summary(msgspec.Struct, frozen=True):
    """`state`: done, failed, cancelled, running, or waiting when nothing of it has begun; with how many calls are over."""

    state: str
    done: int
    total: int


def summary_of(call_states: Sequence[str]) -> Summary:
    """Of the states of all calls, as their records say."""
    counts = Counter(call_states)
    total = len(call_states)
    over = sum(counts[state] for state in states.READY_STATES)
    if counts[states.FAILURE]:
        state = "failed"
    elif counts[states.REVOKED]:
        state = "cancelled"
    elif over == total:
        state = "done"
    else:
        state = "running" if total > counts[states.PENDING] else "waiting"
    return Summary(state, over, total)


# -- drawing ----------------------------------------------------------------------------------------------------------

Children = Callable[[str], Part | None]


def drawn(part: Part, *, everything: bool = False, child: Children = lambda _id: None) -> list[str]:
    """The lines of the tree. Of many members that are alike three are named, unless `everything`. `child` finds what a call has
    sent besides, by id; None for what is not to be shown."""
    return [_line(part), *_below(part, everything, child)]


def _below(part: Part, everything: bool, child: Children) -> list[str]:
    rows: list[list[str]] = []
    members = part.parts
    if part.kind == "group" and not everything:
        for some, left in _alike(members):
            rows += [drawn(one, everything=everything, child=child) for one in some]
            if left:
                rows.append([f"… {len(left)} more {_counted(left)}"])
    else:
        rows = [drawn(one, everything=everything, child=child) for one in members]
    found = (child(id_) for id_ in part.sent)
    rows += [["sent " + lines[0], *lines[1:]] for one in found if one is not None for lines in [drawn(one, child=child)]]
    lines: list[str] = []
    for position, row in enumerate(rows):
        is_last = position == len(rows) - 1
        lines.append(("└─ " if is_last else "├─ ") + row[0])
        lines += [("   " if is_last else "│  ") + line for line in row[1:]]
    return lines


def _alike(members: Sequence[Part]) -> Iterator[tuple[list[Part], list[Part]]]:
    """Members by what they are and do, in the order in which each kind comes first: those to show, and those to count."""
    kinds: dict[Any, list[Part]] = {}
    for member in members:
        kinds.setdefault((member.kind, member.task, member.status), []).append(member)
    for alike in kinds.values():
        shown = SHOWN if len(alike) > SHOWN + 1 else len(alike)
        yield alike[:shown], alike[shown:]


def _counted(parts: Sequence[Part]) -> str:
    return ", ".join(sorted({f"{part.task or part.kind} {part.status}" for part in parts}))


def _line(part: Part) -> str:
    words = [part.role + ":" if part.role in ("header", "body") else f"{part.role}." if part.role else ""]
    if part.kind == "call":
        says_all = part.why.startswith(part.status)
        words += [part.task, part.id, part.why if says_all else part.status, part.done]
        words.append(f"({part.why})" if part.why and not says_all else "")
    else:
        calls = list(part.calls())
        over = sum(call.is_over for call in calls)
        words += [part.kind, part.id, part.status, f"{over} of {len(calls)} over"]
    return " ".join(word for word in words if word)

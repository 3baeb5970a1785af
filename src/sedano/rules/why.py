"""Why a call does not run, or how it ended: from facts to reasons. Pure: `app/why.py` collects the facts.

The most important reason comes first, and its code is the answer's. Nothing is guessed: a fact that nobody knows makes no
reason, and who was asked and did not answer is named.

| codes | the call |
|---|---|
| succeeded, failed, revoked, dead | is over (revoked also: will be dropped when a worker comes to it) |
| running, begun, reserved, taken | is in a worker's hands |
| retry, rate-limited, delayed | waits for its time |
| parked, paused, no-worker, unknown-task, expires | cannot run as things are |
| queued, waits | waits for its turn, or for what comes before it |
| unknown | was found nowhere |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from sedano import states

OVER, HELD, BLOCKED = (
    frozenset({"succeeded", "failed", "revoked", "dead"}),
    frozenset({"running", "begun", "reserved", "taken"}),
    frozenset({"parked", "paused", "no-worker", "unknown-task", "expires"}),
)
_RANKS = ("revoked", "expires", "paused", "no-worker", "unknown-task")
"""Of what keeps a waiting call from running, what is said first."""
_SAME_S = 0.5
"""A time that differs from the call's own by less is the same."""


class Reason(msgspec.Struct, frozen=True):
    """One link of the chain: a word for programs, a sentence for people, and what the sentence is about."""

    code: str
    text: str
    about: dict[str, Any] = {}


class Why(msgspec.Struct, frozen=True):
    """The answer. `code` is that of the first reason; `task` is "" where the name is not known."""

    id: str
    task: str
    code: str
    reasons: list[Reason]

    @property
    def is_over(self) -> bool:
        return self.code in OVER

    @property
    def is_blocked(self) -> bool:
        """Whether somebody must do something before it can run."""
        return self.code in BLOCKED

    def lines(self) -> list[str]:
        return [f"{self.id} {self.task}".rstrip() + f": {self.code}", *(f"  {reason.text}" for reason in self.reasons)]


class Runs(msgspec.Struct, frozen=True):
    """A call that runs on `node` since `since` (Unix seconds, None where nobody says)."""

    node: str
    since: float | None = None
    pid: int | None = None
    id: str = ""
    task: str = ""


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call. Times are Unix seconds, "" and None mean that it is not known.

    `state`, `error`, `done` are of its record. `where` and the five after it are of its message (`contracts/workflows.py`):
    `ahead` and `ready` of those that are ready. `revoked` says by what. `runs` is the call itself, `behind` what runs in the
    process that has it in hand. `nodes` answered, of these `consumers` read its queue and `knowing` know its task; the `silent`
    hold leases and did not. `waits_for` is what comes before it in its workflow. `looked` names what was looked at.
    """

    id: str
    now: float
    task: str = ""
    state: str = ""
    error: str = ""
    done: str = ""
    where: str = ""
    queue: str = ""
    node: str = ""
    due: float | None = None
    detail: str = ""
    ahead: int | None = None
    ready: int | None = None
    retries: int = 0
    expires: float | None = None
    eta: float | None = None
    rate: str = ""
    revoked: str = ""
    pause: str = ""
    runs: Runs | None = None
    behind: Runs | None = None
    held_by_celery: str = ""
    asked: bool = False
    nodes: Sequence[str] = ()
    consumers: Sequence[str] = ()
    knowing: Sequence[str] = ()
    silent: Sequence[str] = ()
    waits_for: str = ""
    workflow: str = ""
    looked: Sequence[str] = ()
    is_whole: bool = True


def why(facts: CallFacts, shown: Callable[[float], str]) -> Why:
    """`shown` writes a time for people."""
    reasons = list(_reasons(facts, shown))
    if not facts.is_whole and reasons[0].code not in OVER:
        reasons.append(Reason("partly", "there is more in the store than was looked at: it may also be where nobody looked"))
    return Why(facts.id, facts.task, reasons[0].code, reasons)


def _reasons(facts: CallFacts, shown: Callable[[float], str]) -> Iterator[Reason]:
    if facts.state in states.READY_STATES and facts.runs is None:
        yield from _over(facts)
    elif facts.runs is not None:
        yield _running(facts.runs, shown)
        if facts.revoked:
            yield Reason("revoked", f"it was revoked {facts.revoked}, which does not end what runs: terminate does")
    elif facts.where == "dead":
        yield Reason("dead", f"its message is a dead letter of {facts.queue}: {facts.detail}", _at(facts))
    elif facts.where in ("reserved", "begun", "taken"):
        yield from _in_hand(facts, shown)
    elif facts.where == "delayed":
        yield from _ordered([_delayed(facts, shown), *_queue(facts)], first="revoked", shown=shown, facts=facts)
    elif facts.where == "parked":
        yield _parked(facts, shown)
        yield from _queue(facts)
    elif facts.where == "ready":
        yield from _ordered([*_queue(facts), _queued(facts), *_rate(facts)], first="", shown=shown, facts=facts)
    else:
        yield from _nowhere(facts)


def _over(facts: CallFacts) -> Iterator[Reason]:
    when = f" at {facts.done}" if facts.done else ""
    about = {"state": facts.state, "done": facts.done}
    if facts.state == states.SUCCESS:
        yield Reason("succeeded", f"it succeeded{when}", about)
    elif facts.state == states.FAILURE:
        yield Reason("failed", f"it failed{when}: {facts.error}", {**about, "error": facts.error})
    else:
        yield Reason("revoked", f"it was revoked{when}: {facts.error}", {**about, "error": facts.error})
    if facts.where == "dead":
        yield Reason("dead", f"its message is kept as a dead letter of {facts.queue}: {facts.detail}", _at(facts))
    elif facts.where:
        yield Reason(
            "left", f"its message is still {facts.where} in {facts.queue}: it is dropped when a worker comes to it", _at(facts)
        )


def _running(runs: Runs, shown: Callable[[float], str]) -> Reason:
    since = f" since {shown(runs.since)}" if runs.since is not None else ""
    process = f", process {runs.pid}" if runs.pid else ""
    return Reason(
        "running", f"it runs on {runs.node}{since}{process}", {"node": runs.node, "since": runs.since, "pid": runs.pid}
    )


def _in_hand(facts: CallFacts, shown: Callable[[float], str]) -> Iterator[Reason]:
    node = facts.node or "a worker"
    if facts.where == "taken":
        who = f"{facts.held_by_celery}, a Celery worker, has it" if facts.held_by_celery else "a Celery worker has taken it"
        if facts.eta is not None and facts.eta > facts.now:
            yield Reason("delayed", f"{who}, and it is delayed until {shown(facts.eta)}", {**_at(facts), "due": facts.eta})
        else:
            yield Reason("taken", f"{who}: it runs there, or will", _at(facts))
        return
    behind = facts.behind
    if behind is not None:
        since = f" since {shown(behind.since)}" if behind.since is not None else ""
        yield Reason(
            "reserved",
            f"{node} has taken it and runs {behind.task}[{behind.id}] before it{since}",
            {**_at(facts), "behind": behind.id, "behind_task": behind.task, "since": behind.since},
        )
    elif facts.rate and facts.where == "reserved":
        text = f"{node} has taken it, and the rate limit of {facts.task}, {facts.rate}, holds it back"
        yield Reason("rate-limited", text, {**_at(facts), "rate_limit": facts.rate})
    elif facts.where == "begun":
        yield Reason("begun", f"{node} has begun it", _at(facts))
    else:
        yield Reason("reserved", f"{node} has taken it and does not run it yet", _at(facts))
    if facts.node in facts.silent:
        yield Reason(
            "silent", f"{node} does not answer: when it is dead, its calls are settled within its lease time", _at(facts)
        )
    if facts.revoked:
        yield Reason("revoked", f"it was revoked {facts.revoked}")
    if facts.pause:
        yield Reason("paused", f"{facts.queue} is paused since {facts.pause}", _at(facts))


def _delayed(facts: CallFacts, shown: Callable[[float], str]) -> Reason:
    due = facts.due or facts.now
    until, about = shown(due), {**_at(facts), "due": facts.due}
    if due <= facts.now:
        until += ", which is now"
    is_later = facts.eta is None or due > facts.eta + _SAME_S
    if facts.rate and is_later:
        return Reason("rate-limited", f"the rate limit of {facts.task}, {facts.rate}, holds it until {until}", about)
    if facts.retries:
        return Reason("retry", f"it failed and is tried again: attempt {facts.retries + 1}, at {until}", about)
    return Reason("delayed", f"it is delayed until {until}", about)


def _parked(facts: CallFacts, shown: Callable[[float], str]) -> Reason:
    until = shown(facts.due or facts.now)
    who = _named([node for node in facts.consumers if node not in facts.knowing])
    known = (
        f"; {who} read{'s' if ',' not in who else ''} {facts.queue} and do{'es' if ',' not in who else ''} not know it"
        if who
        else ""
    )
    text = f"no worker that took it knew the task {facts.task}{known}. It fails at {until}, unless a worker comes that knows it"
    return Reason("parked", text, {**_at(facts), "due": facts.due})


def _queue(facts: CallFacts) -> Iterator[Reason]:
    """What keeps calls of its queue, or of its task, from running."""
    if facts.revoked:
        yield Reason("revoked", f"it was revoked {facts.revoked}: it is dropped when a worker comes to it")
    if facts.pause:
        yield Reason("paused", f"{facts.queue} is paused since {facts.pause}", _at(facts))
    if not facts.asked or facts.where == "parked":
        return
    silent = f" ({_named(facts.silent)} did not answer)" if facts.silent else ""
    if not facts.consumers:
        yield Reason(
            "no-worker", f"no worker that answers reads {facts.queue}{silent}", {**_at(facts), "silent": list(facts.silent)}
        )
    elif facts.task and not set(facts.consumers) & set(facts.knowing):
        yield Reason(
            "unknown-task",
            f"none of the workers that read {facts.queue} knows the task {facts.task}: {_named(facts.consumers)}{silent}",
            {**_at(facts), "consumers": list(facts.consumers)},
        )


def _queued(facts: CallFacts) -> Reason:
    place = "" if facts.ahead is None else f" at place {facts.ahead + 1}"
    place += f" of {facts.ready}" if facts.ahead is not None and facts.ready and facts.ready > facts.ahead else ""
    who = (
        f"; {len(facts.consumers)} {'worker reads' if len(facts.consumers) == 1 else 'workers read'} it" if facts.asked else ""
    )
    about = {**_at(facts), "place": None if facts.ahead is None else facts.ahead + 1, "of": facts.ready}
    return Reason("queued", f"it waits in {facts.queue}{place}{who}", {**about, "consumers": list(facts.consumers)})


def _rate(facts: CallFacts) -> Iterator[Reason]:
    if facts.rate:
        text = f"calls of {facts.task} begin at {facts.rate} at most: a worker leaves in the queue what would wait too long"
        yield Reason("rate-limit", text, {"rate_limit": facts.rate})


def _ordered(reasons: list[Reason], *, first: str, shown: Callable[[float], str], facts: CallFacts) -> Iterator[Reason]:
    """The worst first: of a call whose time has not come only that it never will run (`first`)."""
    expires = facts.expires
    if expires is not None and expires <= max(facts.now, facts.due or 0.0):
        reasons.append(Reason("expires", f"it expires at {shown(expires)}: it is dropped when a worker comes to it"))
    worst = [rank for rank in _RANKS if not first or rank in (first, "expires")]
    yield from sorted(reasons, key=lambda one: worst.index(one.code) if one.code in worst else len(worst))


def _nowhere(facts: CallFacts) -> Iterator[Reason]:
    if facts.waits_for:
        yield Reason(
            "waits", f"it is part of the workflow {facts.workflow} and {facts.waits_for}", {"workflow": facts.workflow}
        )
        return
    text = f"its record says {facts.state}, and its message was found nowhere" if facts.state else "it was found nowhere"
    yield Reason("unknown", f"{text}. Looked at: {'; '.join(facts.looked)}", {"looked": list(facts.looked)})
    if facts.revoked:
        yield Reason("revoked", f"it was revoked {facts.revoked}: if it comes, it is dropped")
    if facts.silent:
        yield Reason("silent", f"{_named(facts.silent)} did not answer", {"silent": list(facts.silent)})


def _at(facts: CallFacts) -> dict[str, Any]:
    return {name: value for name, value in (("queue", facts.queue), ("node", facts.node), ("detail", facts.detail)) if value}


def _named(names: Sequence[str]) -> str:
    shown = list(names[:5])
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

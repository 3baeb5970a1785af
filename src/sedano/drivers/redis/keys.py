"""Every key that Sedano touches on Redis.

Kombu's, exactly as Celery 5.4 to 5.7 use them (P is `global_keyprefix`, empty by default, SEP the bytes 06 16):

    P<queue>, P<queue>SEP<step>       list  the ready messages of a queue by priority step; producers push on the left, the
                                            right end is next. Step 0 has no suffix
    P_kombu.binding.<exchange>        set   <routing key>SEP<pattern>SEP<queue>: who gets what is sent to the exchange
    P_kombu.binding_permanent.<exch.> set   the same members, for queues that do not expire (Kombu 5.7)
    P_kombu.binding_deadlines         zset  exchange -> when a peer may delete its bindings (Kombu 5.7), server milliseconds
    Punacked                          hash  delivery tag -> JSON [envelope, exchange, routing key]: what somebody holds
    Punacked_index                    zset  delivery tag -> when it was received; what is older than the visibility timeout
                                            is put back by any Celery worker
    Punacked_mutex                    text  held by whoever restores
    P/<db>.<exchange>[/<key>]         channel of a fanout exchange (the mailbox, events)

Celery's results (R is the result store's `global_keyprefix`; there a missing separator is added, and it is `_`):

    Rcelery-task-meta-<id>            text  a record; also the channel on which each write of it is published
    Rcelery-taskset-meta-<group><x>   x = .j parts (zset by group index), .s size, .t its correction, .d which parts were
                                            counted, .c who publishes the body, or "done", .g the tags
                                            with which it grew

Our own, all below `P_sedano.`:

    owners                set   every owner that holds something or may
    lease.<owner>         hash  fence (or "ended" while it is being taken over; then `was` is the number), node, beats,
                                scored (server seconds of the last refresh of its scores)
    held.<owner>          hash  tag -> <standing><step>:<queue>. Standings: r reserved, l begun late, e begun early,
                                q reserved, but the bytes are no JSON and must not stand in `unacked`
    kept.<owner>          hash  tag -> envelope, of everything held: begun early it stands nowhere else
    pending.<owner>       hash  pending key -> what is still to be written to a separate result store
    delayed.<queue>       zset  <arrival>:<step>:<envelope> -> due, Unix seconds
    parked_tasks.<queue>  set   tasks that no worker knew, of which calls are parked; for each of them
    parked.<n>:<queue>:<task>   zset, as delayed; n is the length of the queue's name in bytes
    letters               hash  id -> a dead letter; dead.<queue> zset of ids, dead_expiry zset of ids by end,
                                dead_bytes hash queue -> bytes
    workflows             hash  id -> the record of a workflow; workflow_ends zset of ids by end, workflow_bytes how much they
                                hold together
    queues                set   names of queues that we declared or sent to
    fanout.<exchange>     set   our queues bound to a fanout exchange: each gets a copy in its list, Celery's subscribers
                                one by PUBLISH
    revoked               zset  task id -> end; revoke_orders hash task id -> order; revision the counter of changes
    pauses                hash  queue -> the order to take nothing from it
    paused                text  the names of these queues as JSON, which every turn reads
    schedule.<space>      hash  counters of the entries of an app: revision of their changes, decided the number of the last run
    schedule_definitions.<space>  hash  name -> definition; schedule_names.<space> zset of the names, all at 0
    schedule_states.<space>       hash  name -> <revision>:<state>
    schedule_due.<space>          zset  name -> next moment, Unix seconds; none when it has none
    schedule_runs.<n>:<space>:<name>  list  <number>:<run>, the last first; n is the length of the space in bytes
    schedule_ran.<space>          zset  name -> number of its last run
    lock.<name>           hash  owner, term; term.<name> the counter of terms
    fence, sequence, letter_id  counters
    layout                text  the version of all this

A delivery's tag is `<owner>:<number>`, the number counting every reservation of the store. It is also its field in
`unacked`, so a message that Celery restores (it keeps its own delivery tag) never shares a field with us. Deliveries with
standings r and l stand in `unacked`: when all of Sedano is gone, a Celery fleet finds and restores them. `unacked` of a
taken-over delivery keeps the dead owner's name in its field; the taker's `held` says whose it is.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sedano.exceptions import ImproperlyConfigured

LAYOUT_VERSION = "1"
_GLOB = re.compile(r"[\[*?\\]")
_WILD = re.compile(r"\.?#\.?|\*")

DEFAULT_STEPS = (0, 3, 6, 9)


def storable(text: str) -> str:
    """What is no Unicode (a lone surrogate) is stored in an escaped form."""
    return text.encode("utf-8", "backslashreplace").decode()


class Keys(msgspec.Struct, frozen=True):
    """Names of keys for one broker. `fanout` is what stands before an exchange in a channel, its database filled in."""

    prefix: str = ""
    separator: str = "\x06\x16"
    steps: tuple[int, ...] = DEFAULT_STEPS
    fanout: str = "/0."
    legacy_fanout: str | None = None
    fanout_patterns: bool = True
    unacked: str = "unacked"
    unacked_index: str = "unacked_index"
    unacked_mutex: str = "unacked_mutex"

    def ready(self, queue: str, step: int) -> str:
        return f"{self.prefix}{queue}{self.separator}{step}" if step else self.prefix + queue

    def ready_of_all_steps(self, queue: str) -> list[str]:
        return [self.ready(queue, step) for step in self.steps]

    def step(self, priority: int) -> int:
        """The step that serves Celery's priority number: 0 to 9, clipped, mapped down."""
        return self.steps[bisect.bisect(self.steps, min(max(priority, 0), 9)) - 1]

    def own(self, name: str) -> str:
        return f"{self.prefix}_sedano.{name}"

    def parked(self, queue: str, task: str) -> str:
        return self.own(f"parked.{len(queue.encode())}:{queue}:{task}")

    def parked_tasks(self, queue: str) -> str:
        return self.own("parked_tasks." + queue)

    def kombu(self, name: str) -> str:
        return f"{self.prefix}_kombu.{name}"

    def binding(self, exchange: str) -> str:
        return self.kombu("binding." + exchange)

    def permanent(self, exchange: str) -> str:
        return self.kombu("binding_permanent." + exchange)

    def fanout_queues(self, exchange: str) -> str:
        return self.own("fanout." + exchange)

    def member(self, routing_key: str, pattern: str, queue: str) -> str:
        return self.separator.join((routing_key, pattern, queue))

    def channels(self, exchange: str, routing_key: str = "") -> list[str]:
        """Where a message to a fanout exchange is published, and heard."""
        tail = f"{exchange}/{routing_key}" if routing_key and self.fanout_patterns else exchange
        prefixes = [self.fanout] if self.legacy_fanout is None else [self.fanout, self.legacy_fanout]
        return [self.prefix + before + tail for before in prefixes]

    def patterns(self, exchange: str, routing_key: str) -> list[str]:
        """What to subscribe to for all that fits a topic exchange's pattern, and some more: a `*` of Redis takes any text."""
        literal = [_GLOB.sub(r"\\\g<0>", name) for name in self.channels(exchange)]
        if not self.fanout_patterns or not routing_key:
            return literal
        key = "*".join(_GLOB.sub(r"\\\g<0>", part) for part in _WILD.split(routing_key))
        return [f"{name}/{key}" for name in literal]


class ScheduleKeys:
    """Names of keys for the entries of one space; `own` is the beginning of all of them. A name belongs behind `runs`."""

    def __init__(self, own: str, space: str) -> None:
        self.counters = f"{own}.{space}"
        self.definitions = f"{own}_definitions.{space}"
        self.names = f"{own}_names.{space}"
        self.states = f"{own}_states.{space}"
        self.due = f"{own}_due.{space}"
        self.runs = f"{own}_runs.{len(space.encode())}:{space}:"
        self.ran = f"{own}_ran.{space}"


class ResultKeys(msgspec.Struct, frozen=True):
    prefix: str = ""

    def record(self, task_id: str) -> str:
        return f"{self.prefix}celery-task-meta-{task_id}"

    def group(self, group_id: str) -> str:
        return f"{self.prefix}celery-taskset-meta-{group_id}"


def keys_of(transport: Mapping[str, Any], db: int, *, is_sentinel: bool) -> Keys:
    """The names that Kombu would use with these transport options."""
    fanout = transport.get("fanout_prefix", True)
    template = fanout if isinstance(fanout, str) else "/{db}." if fanout else ""
    prefix = str(transport.get("global_keyprefix") or "")
    return Keys(
        prefix=prefix,
        separator=str(transport.get("sep") or "\x06\x16"),
        steps=_steps(transport.get("priority_steps")),
        fanout=template.format(db=db),
        legacy_fanout=template if is_sentinel and transport.get("sentinel_fanout_compat") else None,
        fanout_patterns=bool(transport.get("fanout_patterns", True)),
        unacked=prefix + str(transport.get("unacked_key") or "unacked"),
        unacked_index=prefix + str(transport.get("unacked_index_key") or "unacked_index"),
        unacked_mutex=prefix + str(transport.get("unacked_mutex_key") or "unacked_mutex"),
    )


def result_keys_of(transport: Mapping[str, Any]) -> ResultKeys:
    prefix = str(transport.get("global_keyprefix") or "")
    return ResultKeys(prefix if not prefix or prefix[-1] in ":_-." else prefix + "_")


def _steps(given: Sequence[int] | None) -> tuple[int, ...]:
    steps = tuple(sorted(int(step) for step in given)) if given else DEFAULT_STEPS
    if steps[0] != 0:
        raise ImproperlyConfigured(f"priority_steps={list(steps)}: the first step is 0, or priority 0 has no list")
    return steps

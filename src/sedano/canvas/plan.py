"""What is to be sent when a call is over: outcome in, sends out. Pure; wire-protocol 1.1 and 1.2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec


class Send(msgspec.Struct):
    """Apply `signature` (a map): `args` go before its own unless it is immutable, `options` over its own.

    `group_id` marks members of one group, which are one child of the call that sends them.
    """

    signature: Mapping[str, Any]
    args: tuple[Any, ...]
    options: dict[str, Any]
    group_id: str | None = None


def after_success(
    value: Any,
    *,
    task_id: str,
    root_id: str | None,
    callbacks: Sequence[Any] | None,
    chain: Sequence[Any] | None,
    priority: int | None,
    new_id: Callable[[], str],
) -> list[Send]:
    """The callbacks (several go out as one group), then the next step of the chain with the rest of it.

    `chain` is reversed: its last item is next. `priority` is the call's own when children inherit it, else None.
    """
    inherited: dict[str, Any] = {"parent_id": task_id, "root_id": root_id or task_id}
    if priority is not None:
        inherited["priority"] = priority
    sends: list[Send] = []
    group_id = new_id() if sum(not is_group(callback) for callback in callbacks or ()) > 1 else None
    position = 0
    for callback in callbacks or ():
        if is_group(callback):
            sends += spread(callback, (value,), inherited, new_id)
            continue
        options = dict(inherited)
        if group_id is not None:
            options.update(group_id=group_id, group_index=position)
            position += 1
        sends.append(_step(callback, (), (value,), options, group_id))
    if chain:
        step, rest = chain[-1], chain[:-1]
        if is_group(step):
            if rest:
                raise NotImplementedError("a group in the middle of a chain is a chord, which comes with canvas")
            sends += spread(step, (value,), inherited, new_id)
        else:
            sends.append(_step(step, rest, (value,), {**inherited, "chain": list(rest)}, None))
    return sends


def after_failure(
    errbacks: Sequence[Any] | None, *, task_id: str, root_id: str | None, new_id: Callable[[], str]
) -> list[Send]:
    """The errbacks that are sent as tasks: one group, each with the failed call's id as its argument."""
    if not errbacks:
        return []
    inherited = {"parent_id": task_id, "root_id": root_id or task_id}
    group_id = new_id()
    return [
        Send(errback, (task_id,), {**inherited, "group_id": group_id, "group_index": position}, group_id)
        for position, errback in enumerate(errbacks)
    ]


def failed_with(chain: Sequence[Any] | None) -> list[str]:
    """Ids of the later steps of a chain, which fail with the step that failed."""
    ids = [_options(step).get("task_id") for step in chain or () if isinstance(step, Mapping)]
    return [task_id for task_id in ids if isinstance(task_id, str)]


def is_group(signature: Any) -> bool:
    return isinstance(signature, Mapping) and signature.get("subtask_type") == "group"


def spread(
    group: Mapping[str, Any], args: tuple[Any, ...], inherited: Mapping[str, Any], new_id: Callable[[], str]
) -> list[Send]:
    """A group as its members; nested groups are members too."""
    own = _options(group)
    group_id = own.get("task_id") or new_id()
    # What was set on the group is meant for each member; its links stand on the members already.
    shared = {name: value for name, value in own.items() if name not in ("task_id", "link", "link_error", "chord", "root_id")}
    members = list((group.get("kwargs") or {}).get("tasks") or ())
    sends: list[Send] = []
    for position, member in enumerate(members):
        if is_group(member):
            sends += spread(member, args, inherited, new_id)
        else:
            options = {**shared, **inherited, "group_id": group_id, "group_index": position}
            sends.append(Send(member, args, options, group_id))
    return sends


def _step(
    signature: Mapping[str, Any], rest: Sequence[Any], args: tuple[Any, ...], options: dict[str, Any], group_id: str | None
) -> Send:
    """`signature` as it goes out; a chain goes out as its first step, which takes the others (then `rest`) along."""
    while isinstance(signature, Mapping) and signature.get("subtask_type") == "chain":
        steps = list((signature.get("kwargs") or {}).get("tasks") or ())
        if not steps:
            break
        rest = [*rest, *reversed(steps[1:])]
        options = {**options, "chain": list(rest)}
        signature = steps[0]
    return Send(signature, args, options, group_id)


def _options(signature: Mapping[str, Any]) -> Mapping[str, Any]:
    options = signature.get("options")
    return options if isinstance(options, Mapping) else {}

"""What a signature is a workflow of, read from its map: the same for objects of this process and for maps from a message.

The form is Celery's (celery-surface 3.1): chain and group keep their members in `kwargs.tasks`, a chord in `kwargs.header` and
`kwargs.body`, chunks in `kwargs.task, it, n`. Nothing here changes a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

Map = Mapping[str, Any]

STARMAP = "celery.starmap"
ACCUMULATE = "celery.accumulate"
_NO_OPTIONS: Map = {}
_DEEPEST = 10_000  # workflows in each other: no interpreter could write more of them


def kind(signature: Map) -> str:
    """`"chain"`, `"group"`, `"chord"`, `"chunks"`, or `"task"` for everything that is one call."""
    named = signature.get("subtask_type")
    if named is None:
        return "chunks" if signature.get("task") == "celery.chunks" and "n" in signature["kwargs"] else "task"
    return str(named) if named in ("chain", "group", "chord", "chunks") else "task"


def options_of(signature: Map) -> Map:
    return signature.get("options") or _NO_OPTIONS


def listed(value: Any) -> list[Any]:
    """A list of what an option holds: one, several or none."""
    if value is None:
        return []
    if isinstance(value, Mapping) or not isinstance(value, Sequence) or isinstance(value, str):
        return [value]
    return list(value)


def tasks_of(signature: Map) -> list[Map]:
    """The members of a chain or a group."""
    return list((signature.get("kwargs") or {}).get("tasks") or ())


def header_of(chord: Map) -> list[Map]:
    """The members of a chord's header, which stands there as a list or as a group."""
    header = (chord.get("kwargs") or {}).get("header") or ()
    if isinstance(header, Mapping):
        return tasks_of(header) if kind(header) in ("group", "chain") else [header]
    return list(header)


def body_of(chord: Map) -> Map | None:
    body = (chord.get("kwargs") or {}).get("body")
    return body if isinstance(body, Mapping) else None


def flat(members: Sequence[Map]) -> Iterator[Map]:
    """The members of a group with groups among them taken apart; what has nothing in it is left out.

    Raises RecursionError for a group that is a member of itself: taking it apart would never end.
    """
    stack: list[Map | None] = list(reversed(members))
    apart = _TakenApart()
    while stack:
        member = stack.pop()
        if member is None:
            apart.leave()
            continue
        shape = kind(member)
        if shape == "chunks":
            stack += reversed(tasks_of(as_group(member)))
        elif shape == "group" or (shape == "chain" and len(tasks_of(member)) < 2 and not member.get("args")):
            apart.enter(member)
            stack.append(None)
            stack += reversed(tasks_of(member) if shape == "group" else linked_steps(member))
        else:
            yield member


class _TakenApart:
    """The workflows that are being taken apart, outermost first. They are held, so that no other map gets their identity.

    A `None` on the stack of whoever takes them apart says where the innermost ends.
    """

    def __init__(self) -> None:
        self._maps: dict[int, Map] = {}

    def enter(self, whole: Map) -> None:
        # A step with callbacks from around it is a new map each time: those are known by their number.
        if id(whole) in self._maps or len(self._maps) >= _DEEPEST:
            shape = kind(whole)
            raise RecursionError(f"a {shape} is a member of itself: give each {shape} members that do not hold it")
        self._maps[id(whole)] = whole

    def leave(self) -> None:
        self._maps.popitem()


def is_empty_group(signature: Map) -> bool:
    return kind(signature) == "group" and not tasks_of(signature)


def as_group(chunks: Map) -> dict[str, Any]:
    """Chunks as the group that they run as."""
    kwargs = chunks["kwargs"]
    items, size = iter(kwargs["it"]), int(kwargs["n"])
    if size < 1:
        raise ValueError(f"chunks of {kwargs['task']!r}: n must be at least 1, not {size}")
    parts: list[dict[str, Any]] = []
    while part := list(islice(items, size)):
        parts.append(call(STARMAP, {"task": kwargs["task"], "it": part}, immutable=True))
    options = {"route_name": name_of(kwargs["task"]), **options_of(chunks)}
    return {**call("celery.group", {"tasks": parts}), "subtask_type": "group", "options": options}


def call(task: str, kwargs: Mapping[str, Any], *, args: Sequence[Any] = (), immutable: bool = False) -> dict[str, Any]:
    """The map of one call."""
    return {
        "task": task,
        "args": tuple(args),
        "kwargs": dict(kwargs),
        "options": {},
        "subtask_type": None,
        "immutable": immutable,
    }


def new_chord(header: Sequence[Map] | Map, body: Map, options: Map = _NO_OPTIONS) -> dict[str, Any]:
    kwargs = {"kwargs": {}, "header": header, "body": body}
    return {**call("celery.chord", kwargs), "subtask_type": "chord", "options": dict(options)}


def steps_of(chain: Map) -> list[Map]:
    """The steps of a chain as they run: chains in it taken apart, a group and what comes after it made a chord.

    A chord whose body is a chain that begins with a call is that chord with the first of them as its body, and the others as
    steps: each header task carries the body along, so it should be short. Raises RecursionError for a chain that is a step
    of itself.
    """
    spread: list[Map] = []
    stack: list[Map | None] = list(reversed(linked_steps(chain)))
    apart = _TakenApart()
    apart.enter(chain)
    while stack:
        popped = stack.pop()
        if popped is None:
            apart.leave()
            continue
        step = as_group(popped) if kind(popped) == "chunks" else popped
        if kind(step) == "chain":
            apart.enter(step)
            stack.append(None)
            stack += reversed(linked_steps(step))
        elif kind(step) == "group" and len(tasks_of(step)) == 1:
            stack += tasks_of(step)
        else:
            spread.append(step)
    if any(not is_empty_group(step) for step in spread):
        spread = [step for step in spread if not is_empty_group(step)]
    else:
        spread = spread[:1]
    steps: list[Map] = []  # reversed
    for each in reversed(spread):
        step = each
        if kind(step) == "group" and steps:
            own = options_of(step)
            step = new_chord(step, steps.pop(), {"root_id": own["root_id"]} if own.get("root_id") else {})
        later: list[Map] = []
        if kind(step) == "chord":
            if steps and _ends_in_group(step):
                step = _then(step, steps.pop())
            step, later = _split_body(step)
        steps += reversed(later)
        steps.append(step)
    steps.reverse()
    return steps


def linked_steps(chain: Map) -> list[Map]:
    """The tasks of a chain: on the last of them the chain's callbacks and its place (its id, the chord it is a part of), on
    each its errbacks."""
    steps, own = tasks_of(chain), options_of(chain)
    if not steps or not own:
        return steps
    links, errbacks = listed(own.get("link")), listed(own.get("link_error"))
    if errbacks:
        steps = [with_callbacks(step, (), errbacks) for step in steps]
    place = {name: own[name] for name in _PLACES if own.get(name) is not None}
    last = with_callbacks(steps[-1], links, ())
    steps[-1] = {**last, "options": {**place, **options_of(last)}} if place else last
    return steps


def with_callbacks(signature: Map, links: Sequence[Any], errbacks: Sequence[Any]) -> Map:
    """A copy with more callbacks and errbacks, each once: on the body of a chord, on the last step of a chain (errbacks: on
    all), on the first member of a group (errbacks: on all), as `link` and `link_error` put them."""
    if not links and not errbacks:
        return signature
    shape = kind(signature)
    if shape == "chord":
        body = body_of(signature)
        if body is None:
            return signature
        return {**signature, "kwargs": {**signature["kwargs"], "body": with_callbacks(body, links, errbacks)}}
    if shape == "chain" and tasks_of(signature):
        steps = [with_callbacks(step, (), errbacks) for step in tasks_of(signature)]
        steps[-1] = with_callbacks(steps[-1], links, ())
        return {**signature, "kwargs": {**signature["kwargs"], "tasks": steps}}
    if shape == "group" and tasks_of(signature):
        members = [with_callbacks(member, (), errbacks) for member in tasks_of(signature)]
        once = [{**link, "immutable": True} for link in links]
        members[0] = with_callbacks(members[0], once, ())
        return {**signature, "kwargs": {**signature["kwargs"], "tasks": members}}
    options = dict(options_of(signature))
    for name, more in (("link", links), ("link_error", errbacks)):
        known = listed(options.get(name))
        added = [each for each in more if each not in known]
        if added:
            options[name] = known + added
    return {**signature, "options": options}


def with_one_result(member: Map) -> Map:
    """A member of a chord's header, no group, that gives the body one value: of one that ends in a group, the list of the
    group's results."""
    if not _ends_in_group(member):
        return member
    return {**call("celery.chain", {"tasks": [member, call(ACCUMULATE, {"index": 0})]}), "subtask_type": "chain"}


def _ends_in_group(signature: Map) -> bool:
    shape = kind(signature)
    if shape == "chain":
        steps = steps_of(signature)
        return bool(steps) and _ends_in_group(steps[-1])
    if shape == "chord":
        body = body_of(signature)
        return body is not None and _ends_in_group(body)
    return shape in ("group", "chunks")


def _then(signature: Map, step: Map) -> Map:
    """`signature`, whose results are a group's, and then `step`, which gets them all."""
    if kind(signature) == "chord":
        return {**signature, "kwargs": {**signature["kwargs"], "body": _then(body_of(signature) or {}, step)}}
    return {**call("celery.chain", {"tasks": [signature, step]}), "subtask_type": "chain"}


def _split_body(chord: Map) -> tuple[Map, list[Map]]:
    body = body_of(chord)
    if body is None or kind(body) != "chain":
        return chord, []
    steps = steps_of(body)
    if not steps or kind(steps[0]) == "group":
        return chord, []
    first = steps[0]
    passed = {name: value for name, value in options_of(body).items() if name not in _OF_THE_CHAIN}
    if passed:  # as when the chain is run: its options are for its first call
        first = {**first, "options": {**options_of(first), **passed}}
    return {**chord, "kwargs": {**chord["kwargs"], "body": first}}, steps[1:]


_PLACES = ("task_id", "chord", "group_id", "group_index")
_OF_THE_CHAIN = frozenset({*_PLACES, "link", "link_error", "parent_id", "root_id"})


def size_of(signature: Map) -> int:
    """How many results a header member gives its chord: a group one for each, a chain those of its last step, a chord those
    of its body."""
    shape = kind(signature)
    if shape == "group":
        return sum(size_of(member) for member in flat(tasks_of(signature)))
    if shape == "chunks":
        return size_of(as_group(signature))
    if shape == "chain":
        steps = steps_of(signature)
        return size_of(steps[-1]) if steps else 0
    if shape == "chord":
        body = body_of(signature)
        return 0 if body is None else size_of(body)
    return 1


def name_of(task: Any) -> Any:
    """The name of the task that a map-like signature runs."""
    if isinstance(task, Mapping):
        return task.get("task")
    return getattr(task, "name", task)

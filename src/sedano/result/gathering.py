"""Many results together: one question for many of them, one subscription for all that have not ended."""

from __future__ import annotations

import importlib
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from contextlib import aclosing, closing
from typing import Any

from sedano import states
from sedano.result.ahead import MOST_AHEAD, MOST_BYTES

Meta = dict[str, Any]
OnMessage = Callable[[Any], Any] | None

_FIRST_CHUNK = 100


def leaves(results: Iterable[Any]) -> Iterator[Any]:
    """The calls among `results` and in the sets among them."""
    for result in results:
        members = getattr(result, "results", None)
        if members is None:
            yield result
        else:
            yield from leaves(members)


def metas(results: Iterable[Any]) -> Generator[tuple[Any, Meta], None, None]:
    """(result, meta) for all calls in `results`, as things stand. Asks for no more than what is taken."""
    waiting: list[Any] = []
    size = _FIRST_CHUNK
    for result in leaves(results):
        waiting.append(result)
        if len(waiting) >= size:
            size = yield from _metas(waiting)
            waiting = []
    yield from _metas(waiting)


def _metas(results: list[Any]) -> Generator[tuple[Any, Meta], None, int]:
    """Returns how many to ask for next time."""
    found: dict[int, Meta] = {}
    bytes_, count = 0, 0
    for backend, unknown in _by_backend(result for result in results if result._cache is None and not result.ignored):
        task_ids = list(dict.fromkeys(result.id for result in unknown))
        payloads = dict(zip(task_ids, backend.reader.fetch(task_ids), strict=True))
        bytes_ += sum(len(payload) for payload in payloads.values() if payload is not None)
        count += sum(payload is not None for payload in payloads.values())
        for result in unknown:
            payload = payloads[result.id]
            meta = found[id(result)] = backend.pending(result.id) if payload is None else backend.decode(payload)
            if meta["status"] in states.READY_STATES:
                result._keep(meta)
    for result in results:
        yield result, result._cache or found.get(id(result)) or _ignored(result)
    return max(1, min(MOST_AHEAD, MOST_BYTES * count // (bytes_ + 1))) if count else MOST_AHEAD


def finals(
    results: Iterable[Any], timeout_s: float | None, on_message: OnMessage = None
) -> Generator[tuple[Any, Meta], None, None]:
    """(result, final meta) for all calls in `results`, each when it has ended. Raises TimeoutError after `timeout_s`.

    What has ended is read in steps as it is taken; then all others are listened to at once.
    """
    ends_at = None if timeout_s is None else time.monotonic() + timeout_s
    running: list[Any] = []
    for result, meta in metas(_sendable(results)):
        is_final = meta["status"] in states.READY_STATES
        if on_message is not None and meta["status"] != states.PENDING:
            on_message(meta)
        if is_final or result.ignored:
            yield result, meta
        else:
            running.append(result)
    for backend, some in _by_backend(running):
        left = _by_id(some)
        enough: set[str] = set()
        left_s = None if ends_at is None else max(0.0, ends_at - time.monotonic())
        with closing(backend.reader.records(list(left), left_s, enough)) as heard:
            for task_id, payload in heard:
                yield from _ended(backend, left, enough, task_id, payload, on_message)
                if not left:
                    break


async def afinals(
    results: Iterable[Any], timeout_s: float | None, on_message: OnMessage = None
) -> AsyncGenerator[tuple[Any, Meta], None]:
    """As `finals`, without blocking the event loop."""
    ends_at = None if timeout_s is None else time.monotonic() + timeout_s
    running: list[Any] = []
    for result in leaves(_sendable(results)):
        if result._cache is None and not result.ignored:
            running.append(result)
        else:
            yield result, result._cache or _ignored(result)
    awaiting = importlib.import_module("sedano.result.awaiting")
    for backend, some in _by_backend(running):
        left = _by_id(some)
        enough: set[str] = set()
        left_s = None if ends_at is None else max(0.0, ends_at - time.monotonic())
        async with aclosing(awaiting.records(backend.reader, list(left), left_s, enough)) as heard:
            async for task_id, payload in heard:
                for each in _ended(backend, left, enough, task_id, payload, on_message):
                    yield each
                if not left:
                    break


def _ended(
    backend: Any, left: dict[str, list[Any]], enough: set[str], task_id: str, payload: bytes, on_message: OnMessage
) -> Iterator[tuple[Any, Meta]]:
    """What a record ends; it is then no longer in `left`."""
    if task_id not in left:
        return
    meta: Meta = backend.decode(payload)
    if on_message is not None:
        on_message(meta)
    if meta["status"] in states.READY_STATES:
        enough.add(task_id)
        for result in left.pop(task_id):
            yield result, result._keep(meta)


def _sendable(results: Iterable[Any]) -> list[Any]:
    """Raises RuntimeError when one of them was not sent."""
    found = list(leaves(results))
    for result in found:
        result._refuse_unsent()
    return found


def _by_backend(results: Iterable[Any]) -> list[tuple[Any, list[Any]]]:
    found: dict[int, tuple[Any, list[Any]]] = {}
    for result in results:
        backend = result.backend
        found.setdefault(id(backend), (backend, []))[1].append(result)
    return list(found.values())


def _by_id(results: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for result in results:
        found.setdefault(result.id, []).append(result)
    return found


def _ignored(result: Any) -> Meta:
    """Of a call whose result nobody keeps."""
    return {"task_id": result.id, "status": states.PENDING, "result": None, "traceback": None, "children": None}


def forget(results: Iterable[Any]) -> None:
    """Delete the records of all calls in `results`, and of their parents."""
    found = list(leaves(results))
    parents = {id(result.parent): result.parent for result in found if result.parent is not None}
    for parent in parents.values():
        parent.forget()
    for backend, some in _by_backend(result for result in found if result._is_stored):
        for start in range(0, len(some), MOST_AHEAD):
            backend.reader.forget([result.id for result in some[start : start + MOST_AHEAD]])
    for result in found:
        if result._is_stored:
            result._cache = result.payload_ahead = None

"""`app.backend`: a result store with Celery's names. It reads and writes records; waiting is `waiting.py`'s."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import Any, NoReturn

import msgspec

from sedano import states
from sedano.clock import SYSTEM_CLOCK, Clock
from sedano.contracts.settlement import ChordStart, ResultWrite
from sedano.log import redact_url
from sedano.protocol import results
from sedano.protocol.results import NO_CHORDS
from sedano.result.base import result_from_tuple
from sedano.result.waiting import ResultReader


class ResultTerms(msgspec.Struct, frozen=True):
    """How an app keeps its results, as plain values. None for `expires_s`, or for that of failures, keeps them for ever."""

    serializer: str = "json"
    accept: frozenset[str] | None = None
    compression: str | None = None
    expires_s: float | None = 86400.0
    failure_expires_s: float | None = 86400.0
    extended: bool = False
    chord_expires_s: float = 86400.0


class Backend:
    """One app's results. Any thread may use it."""

    READY_STATES = states.READY_STATES
    UNREADY_STATES = states.UNREADY_STATES
    EXCEPTION_STATES = states.EXCEPTION_STATES
    supports_native_join = True
    supports_autoexpire = True  # by the store or by its workers: nobody has to send `celery.backend_cleanup`
    is_async = True

    def __init__(
        self,
        reader: ResultReader,
        terms: Callable[[], ResultTerms],
        timezone: Callable[[], tzinfo],
        url: str,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.reader = reader
        self.url = url
        self._terms = terms
        self._timezone = timezone
        self._clock = clock

    @property
    def is_enabled(self) -> bool:
        return True

    # -- reading ----------------------------------------------------------------------------------------------------------

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """The record of a task; that of an unknown one is PENDING."""
        del cache
        payload = self.reader.fetch((task_id,))[0]
        return self.pending(task_id) if payload is None else self.decode(payload)

    def decode(self, payload: bytes) -> dict[str, Any]:
        terms = self._terms()
        return results.decode_meta(payload, terms.serializer, terms.accept)

    @staticmethod
    def pending(task_id: str) -> dict[str, Any]:
        return {"task_id": task_id, "status": states.PENDING, "result": None, "traceback": None, "children": None}

    def get_state(self, task_id: str) -> str:
        return str(self.get_task_meta(task_id)["status"])

    get_status = get_state

    def get_result(self, task_id: str) -> Any:
        return self.get_task_meta(task_id).get("result")

    def get_traceback(self, task_id: str) -> str | None:
        return self.get_task_meta(task_id).get("traceback")

    def get_children(self, task_id: str) -> Any:
        return self.get_task_meta(task_id).get("children")

    def exists(self, task_id: str) -> bool:
        return self.reader.fetch((task_id,))[0] is not None

    # -- writing ----------------------------------------------------------------------------------------------------------

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Write a record now; a SUCCESS that is there already stays. Returns `result`. Raises EncodeError."""
        del kwargs
        terms = self._terms()
        ready = state in states.READY_STATES
        children = [child.as_tuple() for child in request.children] if request is not None and ready else []
        meta = results.state(
            task_id,
            state,
            result,
            traceback=traceback,
            children=children,
            date_done=self._now() if ready else None,
            group_id=getattr(request, "group", None),
            parent_id=getattr(request, "parent_id", None),
            extended=_extended(request) if terms.extended and request is not None else None,
        )
        expires_s = terms.failure_expires_s if state == states.FAILURE else terms.expires_s
        payload = results.encode_meta(meta, terms.serializer, terms.compression)
        if state != states.SUCCESS and self._has_succeeded(task_id):
            return result
        reply_to = getattr(request, "reply_to", None) or ""
        self.reader.store(ResultWrite(task_id, payload, expires_s, ready, reply_to))
        return result

    def _has_succeeded(self, task_id: str) -> bool:
        return self.get_state(task_id) == states.SUCCESS

    def mark_as_started(self, task_id: str, **meta: Any) -> Any:
        return self.store_result(task_id, meta, states.STARTED)

    def mark_as_done(self, task_id: str, result: Any, request: Any = None, store_result: bool = True) -> None:
        if store_result:
            self.store_result(task_id, result, states.SUCCESS, request=request)

    def mark_as_failure(
        self, task_id: str, exc: BaseException, traceback: str | None = None, request: Any = None, store_result: bool = True
    ) -> None:
        if store_result:
            self.store_result(task_id, exc, states.FAILURE, traceback=traceback, request=request)

    def mark_as_revoked(self, task_id: str, reason: str = "", request: Any = None, store_result: bool = True) -> None:
        if store_result:
            exc = results.revoked(task_id, reason or "revoked", date_done="")["result"]
            self.store_result(task_id, exc, states.REVOKED, request=request)

    def mark_as_retry(self, task_id: str, exc: BaseException, traceback: str | None = None, request: Any = None) -> Any:
        return self.store_result(task_id, exc, states.RETRY, traceback=traceback, request=request)

    def forget(self, task_id: str) -> None:
        self.reader.forget((task_id,))

    # -- groups -----------------------------------------------------------------------------------------------------------

    def save_group(self, group_id: str, result: Any) -> Any:
        """Store who the members of a group are, for as long as results are kept. Returns `result`."""
        terms = self._terms()
        payload = results.encode_meta({"result": result.as_tuple()}, terms.serializer, terms.compression)
        self.reader.save_group(group_id, payload, terms.expires_s)
        return result

    def get_group_meta(self, group_id: str, cache: bool = True) -> dict[str, Any] | None:
        """`{"result": the group's tuple}`; None for one that was not saved, or whose time is over."""
        del cache
        payload = self.reader.fetch_group(group_id)
        return None if payload is None else self.decode(payload)

    def restore_group(self, group_id: str, cache: bool = True) -> Any:
        """The group that was saved; its results ask the current app. See `GroupResult.restore`."""
        meta = self.get_group_meta(group_id, cache)
        return None if meta is None else result_from_tuple(meta["result"])

    def delete_group(self, group_id: str) -> None:
        self.reader.forget_group(group_id)

    def start_chords(self, sizes: Mapping[str, int]) -> None:
        """Say how many parts chords have, by group id, before their headers go out. One round trip."""
        ttl_s = self._terms().chord_expires_s
        self.reader.start_chords([ChordStart(group_id, size, ttl_s) for group_id, size in sizes.items()])

    def grow_chord(self, group_id: str, by: int, tag: str) -> None:
        """A running chord gets `by` more parts, once for each `tag`."""
        self.reader.grow_chord(group_id, by, tag)

    def ensure_chords_allowed(self) -> None:
        """Raises NotImplementedError where nobody counts the parts of a chord."""

    def cleanup(self) -> None:
        """Delete what is past its time, where the store does not do so itself."""
        while self.reader.expire(self._clock.wall()):
            pass

    # -- the rest of Celery's face ----------------------------------------------------------------------------------------

    def as_uri(self, include_password: bool = False) -> str:
        return self.url if include_password else redact_url(self.url)

    def process_cleanup(self) -> None:
        """Nothing to do after a task."""

    def on_task_call(self, producer: Any, task_id: str) -> dict[str, Any]:
        """Nothing to do before a task is sent: a result is watched when it is waited for."""
        del producer, task_id
        return {}

    def close(self) -> None:
        self.reader.close()

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock.wall(), self._timezone()).isoformat()


class RpcBackend(Backend):
    """Where results are sent to whoever made the call, and kept nowhere (rpc://).

    Only the process that made a call hears of it; to others it is PENDING. There are no chords, and no groups are saved.
    """

    def _has_succeeded(self, task_id: str) -> bool:  # noqa: ARG002 - whoever hears of both states sees to that
        return False

    def ensure_chords_allowed(self) -> NoReturn:
        raise NotImplementedError(NO_CHORDS)

    def start_chords(self, sizes: Mapping[str, int]) -> None:
        if sizes:
            self.ensure_chords_allowed()

    def grow_chord(self, group_id: str, by: int, tag: str) -> NoReturn:  # noqa: ARG002
        self.ensure_chords_allowed()

    def save_group(self, group_id: str, result: Any) -> NoReturn:
        raise NotImplementedError("save_group is not supported by this backend.")

    def get_group_meta(self, group_id: str, cache: bool = True) -> NoReturn:
        raise NotImplementedError("restore_group is not supported by this backend.")

    def delete_group(self, group_id: str) -> NoReturn:
        raise NotImplementedError("delete_group is not supported by this backend.")


class DisabledBackend:
    """No results are kept: writing does nothing, reading says what to configure."""

    is_enabled = False
    url = "disabled://"
    supports_native_join = False
    supports_autoexpire = True  # there is nothing to expire

    def store_result(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is kept."""

    mark_as_started = mark_as_done = mark_as_failure = mark_as_revoked = mark_as_retry = store_result
    on_task_call = store_result

    def refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            "No result backend is configured, so nothing is known about results. Set result_backend, for example"
            " Celery(..., backend='redis://localhost:6379/1'), in the app that sends and in its workers."
        )

    get_task_meta = get_state = get_status = get_result = get_traceback = get_children = exists = forget = refuse
    save_group = get_group_meta = restore_group = delete_group = refuse
    start_chords = grow_chord = ensure_chords_allowed = refuse

    @property
    def reader(self) -> NoReturn:
        self.refuse()

    def cleanup(self) -> None:
        """Nothing to do."""

    def process_cleanup(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing is open."""

    def as_uri(self, include_password: bool = False) -> str:
        del include_password
        return self.url


def _extended(request: Any) -> Mapping[str, Any]:
    info = request.delivery_info or {}
    return results.extended_fields(
        name=request.task,
        args=request.args,
        kwargs=request.kwargs,
        worker=request.hostname,
        retries=request.retries,
        queue=info.get("routing_key"),
        stamped_headers=request.stamped_headers,
        stamps=request.stamps,
    )

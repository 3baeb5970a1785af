"""Result records (wire-protocol 6.1): task meta maps and their bytes. Exceptions in them: see `errors.py`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sedano.exceptions import DecodeError, ImproperlyConfigured, TaskRevokedError
from sedano.protocol.compression import compress, decompress
from sedano.protocol.errors import exception_from_map, exception_to_map, pickleable
from sedano.protocol.serializers import dumps, json, known_type, loads
from sedano.states import EXCEPTION_STATES

__all__ = [
    "NO_CHORDS",
    "chord_part_payload",
    "decode_meta",
    "decompressed",
    "encode_meta",
    "encode_success",
    "exception_from_map",
    "exception_to_map",
    "extended_fields",
    "failure",
    "group_key",
    "outlasts",
    "read_chord_part",
    "revoked",
    "says_otherwise",
    "state",
    "success",
    "task_key",
    "typed",
    "writes_own_json",
]

# A compressed record says so itself, so that a reader needs no setting: prefix, MIME type, a zero byte, data.
_COMPRESSED = b"\0celery-compressed\0"

# Our own: a record that came as a message, in another form than this app's results; as above, and not compressed.
_TYPED = b"\0sedano-content-type\0"

NO_CHORDS = (
    'The "rpc" result backend does not support chords: nobody counts the parts of one. A group that is followed by a task is a'
    " chord too. Set result_backend to a store that keeps results, such as redis://."
)

# How a JSON record begins, in both ways of writing it; of records in other forms nothing is known without decoding them.
_JSON_META = b'{"status"'
_SUCCESS = (b'{"status": "SUCCESS"', b'{"status":"SUCCESS"')


def task_key(task_id: str) -> str:
    """The key of a task's record in key-value stores."""
    return "celery-task-meta-" + task_id


def group_key(group_id: str) -> str:
    """The key of a saved group, and the stem of a chord's keys."""
    return "celery-taskset-meta-" + group_id


def outlasts(stored: bytes, new: bytes) -> bool:
    """Whether a stored record is kept although `new` comes: it says SUCCESS, and `new` says something else.

    Of two runs of a call the one that succeeded counts, as in Celery. Only JSON that is not compressed is looked at.
    """
    return stored.startswith(_SUCCESS) and says_otherwise(new)


def says_otherwise(record: bytes) -> bool:
    """Whether a record is known to say something else than SUCCESS."""
    return record.startswith(_JSON_META) and not record.startswith(_SUCCESS)


def state(
    task_id: str,
    status: str,
    result: Any = None,
    *,
    traceback: str | None = None,
    children: Sequence[Any] = (),
    date_done: str | None = None,
    group_id: str | None = None,
    parent_id: str | None = None,
    extended: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A task meta. `result` may be an exception; `encode_meta` writes it in the serializer's form.

    `children` are result tuples; `date_done` is ISO text, for final states only.
    """
    meta: dict[str, Any] = {
        "status": status,
        "result": result,
        "traceback": traceback,
        "children": children if isinstance(children, list) else list(children),
        "date_done": date_done,
    }
    if group_id:
        meta["group_id"] = group_id
    if parent_id:
        meta["parent_id"] = parent_id
    if extended:
        meta.update(extended)
    meta["task_id"] = task_id
    return meta


def success(task_id: str, value: Any, *, date_done: str, **more: Any) -> dict[str, Any]:
    """The meta of a SUCCESS; `more` as in `state`."""
    return state(task_id, "SUCCESS", value, date_done=date_done, **more)


def failure(task_id: str, exc: BaseException, *, date_done: str, traceback: str | None = None, **more: Any) -> dict[str, Any]:
    """The meta of a FAILURE; `more` as in `state`."""
    return state(task_id, "FAILURE", exc, date_done=date_done, traceback=traceback, **more)


def revoked(task_id: str, reason: str = "revoked", *, date_done: str, **more: Any) -> dict[str, Any]:
    """The meta of a REVOKED call; `reason` is "revoked", "terminated" or "expired"."""
    return state(task_id, "REVOKED", TaskRevokedError(reason), date_done=date_done, **more)


def extended_fields(
    *,
    name: str | None,
    args: Any,
    kwargs: Any,
    worker: str | None,
    retries: int,
    queue: str | None,
    stamped_headers: Sequence[str] | None = None,
    stamps: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What `result_extended` adds: pass it to `state` as `extended`. Stamps stand flat beside the other fields."""
    fields: dict[str, Any] = {
        "name": name,
        "args": args,
        "kwargs": kwargs,
        "worker": worker,
        "retries": retries,
        "queue": queue,
    }
    if stamps:
        fields["stamped_headers"] = stamped_headers
        fields.update({stamp: value for stamp, value in stamps.items() if stamp in (stamped_headers or ())})
    return fields


def encode_success(task_id: str, value: Any, *, date_done: str, group_id: str | None, parent_id: str | None) -> bytes:
    """What `encode_meta(success(...))` writes as plain JSON: the record of nearly every call, in its parts.

    Raises `EncodeError` when the value cannot be serialized.
    """
    text = b'{"status":"SUCCESS","result":%b,"traceback":null,"children":[],"date_done":"%b"' % (
        b"null" if value is None else dumps(value, "json")[2],
        date_done.encode(),
    )
    if group_id:
        text += b',"group_id":' + json.encode(group_id)
    if parent_id:
        text += b',"parent_id":' + json.encode(parent_id)
    return b'%b,"task_id":%b}' % (text, json.encode(task_id))


def writes_own_json() -> bool:
    """Whether "json" writes as we do: users may register another encoder under that name."""
    probe = {"a": [1, None, "b"]}
    return dumps(probe, "json")[2] == json.encode(probe)


def encode_meta(meta: Mapping[str, Any], serializer: str = "json", compression: str | None = None) -> bytes:
    """The stored form. Raises `EncodeError` when the result cannot be serialized."""
    result = meta.get("result")
    if isinstance(result, BaseException) and _means_exception(meta.get("status")):
        meta = {**meta, "result": _stored_exception(result, serializer)}
    return _encode(meta, serializer, compression)


def decode_meta(
    payload: bytes, serializer: str = "json", accept: Collection[str] | None = None, *, exceptions: bool = True
) -> dict[str, Any]:
    """The meta in `payload`, decompressed if it is compressed; exceptions are made of their maps unless told otherwise.

    `accept` None accepts what `serializer` writes. A saved group is read too; it has no status. Raises `DecodeError`,
    `ContentDisallowed`, `ImproperlyConfigured` for an unknown serializer, and `SecurityError` for a record that names
    something else than an exception class.
    """
    meta = _decode(payload, serializer, accept)
    if not isinstance(meta, dict):
        raise DecodeError(f"the result record is a {type(meta).__name__}, not a map")
    if exceptions and meta.get("result") and _means_exception(meta.get("status")):
        meta["result"] = exception_from_map(meta["result"])
    return meta


def decompressed(payload: bytes) -> bytes:
    """The record without its compression, if it has one."""
    if not payload.startswith(_COMPRESSED):
        return payload
    content_type, _, data = payload[len(_COMPRESSED) :].partition(b"\0")
    return decompress(data, content_type.decode("utf-8", "replace"))


def typed(payload: bytes, content_type: str) -> bytes:
    """The record as one that says its own content type, which `decode_meta` reads where that is accepted."""
    return b"".join((_TYPED, content_type.encode(), b"\0", payload))


def chord_part_payload(
    task_id: str, status: str, result: Any, serializer: str = "json", compression: str | None = None
) -> bytes:
    """`[1, task id, state, result or exception map]`, as counted for a chord."""
    if isinstance(result, BaseException) and _means_exception(status):
        result = _stored_exception(result, serializer)
    return _encode([1, task_id, status, result], serializer, compression)


def read_chord_part(payload: bytes, serializer: str = "json", accept: Collection[str] | None = None) -> tuple[str, str, Any]:
    """(task id, state, result) of a counted part; the result of a failed one is its exception."""
    part = _decode(payload, serializer, accept)
    if not isinstance(part, list | tuple) or len(part) != 4:
        raise DecodeError("the chord part is no list of four")
    _, task_id, status, result = part
    return str(task_id), str(status), exception_from_map(result) if result and _means_exception(status) else result


def _means_exception(status: Any) -> bool:
    return isinstance(status, str) and status in EXCEPTION_STATES


def _stored_exception(exc: BaseException, serializer: str) -> Any:
    return pickleable(exc) if serializer == "pickle" else exception_to_map(exc, serializer)


def _encode(value: Any, serializer: str, compression: str | None) -> bytes:
    data = dumps(value, serializer)[2]
    if not compression:
        return data
    compressed, content_type = compress(data, compression)
    return b"".join((_COMPRESSED, content_type.encode(), b"\0", compressed))


def _decode(payload: bytes, serializer: str, accept: Collection[str] | None) -> Any:
    payload = decompressed(payload)
    content_type_of_value = known_type(serializer)
    if content_type_of_value is None:
        raise ImproperlyConfigured(f"result_serializer is {serializer!r}, and there is no such serializer")
    accepted = (content_type_of_value,) if accept is None else accept
    if payload.startswith(_TYPED):
        said, _, payload = payload[len(_TYPED) :].partition(b"\0")
        content_type_of_value = said.decode("utf-8", "replace")
    return loads(payload, content_type_of_value, "utf-8", accepted)

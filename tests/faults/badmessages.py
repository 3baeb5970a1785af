"""Messages that nobody can run, each with the cause and the words that its dead letter must have."""

from __future__ import annotations

import base64
import json
import pickle
import uuid
import zlib
from dataclasses import dataclass
from typing import Any

BODY = [[2, 3], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
DEEP = 10_000


@dataclass(frozen=True)
class Bad:
    """`raw` is stored in the queue. `error`: the exception that a waiting caller gets, where an id can be read."""

    name: str
    raw: bytes
    detail: str
    cause: str = "unreadable"
    task_id: str = ""
    error: str = ""


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def envelope(
    body: bytes | Any = None,
    headers: dict[str, Any] | None = None,
    *,
    content_type: str = "application/json",
    **properties: Any,
) -> bytes:
    """A message in Kombu's envelope; `body` as bytes, or a value to write as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(BODY if body is None else body).encode()
    encoding = properties.pop("content_encoding", "utf-8")
    whole = {
        "body": base64.b64encode(data).decode(),
        "content-encoding": encoding,
        "content-type": content_type,
        "headers": headers,
        "properties": {
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "delivery_tag": str(uuid.uuid4()),
            **properties,
        },
    }
    return json.dumps(whole).encode()


def headers(task_id: str, task: Any = "strange.add", **more: Any) -> dict[str, Any]:
    return {"lang": "py", "task": task, "id": task_id, "root_id": task_id, "parent_id": None, "group": None, **more}


NOT_JSON = [
    Bad("empty", b"", "the envelope cannot be read"),
    Bad("binary", bytes(range(256)), "the envelope cannot be read"),
    Bad("not UTF-8", b'{"body": "\xff\xfe"}', "the envelope cannot be read.*utf-8"),
    Bad("half", envelope(headers=headers("half"))[:-40], "the envelope cannot be read"),
    Bad("number", b"42", "the envelope is a number, not a map"),
    Bad("array", b'["a", "b"]', "the envelope is a list, not a map"),
    Bad("null", b"null", "the envelope is null, not a map"),
    Bad("text", b'"text"', "the envelope is text, not a map"),
    Bad("empty map", b"{}", "'body' of the envelope is missing"),
    Bad("other map", b'{"event": "order", "items": [1, 2]}', "'body' of the envelope is missing"),
    Bad("body is a number", b'{"body": 1, "headers": {}, "properties": {}}', "'body' of the envelope is a number"),
    Bad("headers are a list", b'{"body": "", "headers": [1], "properties": {}}', "'headers' of the envelope is a list"),
    Bad("properties are text", b'{"body": "", "headers": {}, "properties": "x"}', "'properties' of the envelope is text"),
    Bad("5 MB of garbage", bytes(range(256)) * 20_000, "the envelope cannot be read"),
    Bad("5 MB of one map", b'{"a": "' + b"x" * 5_000_000 + b'"}', "'body' of the envelope is missing"),
    Bad("too deep", nested(DEEP).encode(), "nested too deeply"),
    Bad("too deep in its headers", b'{"body": "", "headers": {"a": ' + nested(DEEP).encode() + b'}, "properties": {}}', "deep"),
    Bad("body is no base64", b'{"body": "abc", "properties": {"body_encoding": "base64"}}', "is no base64 text"),
    Bad("unknown body encoding", envelope(body_encoding="base85"), "'base85'"),
]


def _call(name: str, detail: str, body: Any = None, task: Any = "strange.add", **more: Any) -> Bad:
    """A message whose id can be read: its caller is told."""
    task_id = f"bad-{name}".replace(" ", "-")
    outer = {key: more.pop(key) for key in ("content_type", "content_encoding") if key in more}
    error, cause = more.pop("error", "UnreadableMessage"), more.pop("cause", "unreadable")
    raw = envelope(body, headers(task_id, task, **more), **outer)
    return Bad(name, raw, detail, cause, task_id, error)


def _anonymous(name: str, detail: str, raw: bytes) -> Bad:
    return Bad(name, raw, detail)


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def bomb(path: str) -> Bad:
    return _call(
        "pickle",
        "Refusing to deserialize untrusted content of type pickle",
        pickle.dumps([[Bomb(path), 1], {}, {}]),
        content_type="application/x-python-serialize",
        content_encoding="binary",
        error="ContentDisallowed",
    )


def bomb_in_protocol_1(path: str) -> Bad:
    body = pickle.dumps({"task": "strange.add", "id": "old bomb", "args": [Bomb(path), 1]})
    raw = envelope(body, {}, content_type="application/x-python-serialize", content_encoding="binary")
    return Bad("pickle of protocol 1", raw, "Refusing to deserialize untrusted content of type pickle")


NO_CALL = [
    _anonymous("without headers", "there is no header 'task'", envelope().replace(b'"headers": null, ', b"")),
    _anonymous("headers null", "there is no header 'task'", envelope(headers=None)),
    _anonymous("without id", "'id' of the call is missing", envelope(headers={"task": "strange.add"})),
    _anonymous("id is null", "'id' of the call is missing", envelope(headers={"task": "strange.add", "id": None})),
    _anonymous("id is a number", "'id' of the call is a int", envelope(headers={"task": "strange.add", "id": 7})),
    _anonymous("id of half a pair", "holds half a character", envelope(headers=headers("i\ud800"))),
    _anonymous("id is empty", "'id' is empty", envelope(headers={"task": "strange.add", "id": ""})),
    _call("task is a number", "'task' of the call is a int", task=12),
    _call("task is a list", "'task' of the call is a list", task=["strange", "add"]),
    _call("task of half a pair", "'task' of the call is no text", task="half\ud800"),
    _call("task is empty", "'task' is empty", task=""),
    _call("body of two", "the body has 2 elements", [[2, 3], {}]),
    _call("body of four", "the body has 4 elements", [[2, 3], {}, {}, {}]),
    _call("body is empty", "no JSON", b"", error="DecodeError"),
    _call("body is half", "no JSON", b"[[2, 3], {", error="DecodeError"),
    _call("body is a number", "the body is a int", 42),
    _call("body is no text", "utf-8", b"\xff\xfe\x00", error="DecodeError"),
    _call("body is too deep", "nested too deeply", nested(DEEP).encode(), error="DecodeError"),
    _call("args are a map", "args of the body are a dict", [{"x": 2}, {}, {}]),
    _call("kwargs are a list", "kwargs of the body are a list", [[2, 3], [1], {}]),
    _call("embed is text", "embed of the body is a str", [[2, 3], {}, "embed"]),
    _call("callbacks are a map", "'callbacks' of the body are a dict", [[2, 3], {}, {"callbacks": {"task": "x"}}]),
    _call("chord is a list", "'chord' of the body is a list", [[2, 3], {}, {"chord": [1]}]),
    _call("unknown typed value", "unknown typed value 'matrix'", [[{"__type__": "matrix", "__value__": 1}, 3], {}, {}],
          error="DecodeError"),
    _call("broken typed value", "no JSON that can be read", [[{"__type__": "datetime", "__value__": "x"}, 3], {}, {}],
          error="DecodeError"),
    _call("unknown content type", "untrusted content of type application/x-secret", b"abc", content_type="application/x-secret",
          error="ContentDisallowed"),
    _call("yaml", "untrusted content of type yaml", b"- [2, 3]", content_type="application/x-yaml", error="ContentDisallowed"),
    _call("signed", "serializer 'auth'", b"abc", content_type="application/data", content_encoding="binary"),
    _call("no content type", "the body is a str", content_type=""),
    _call("unknown compression", "cannot decompress 'application/x-snappy'", b"abc", compression="application/x-snappy",
          error="DecodeError"),
    _call("no zstd", "the data is no application/zstd stream", b"abc", compression="application/zstd", error="DecodeError"),
    _call("decompression bomb", "refused as a decompression bomb", zlib.compress(b" " * (130 << 20)), compression="gzip",
          error="DecodeError"),
    _call("compression is a number", "cannot decompress '5'", b"abc", compression=5, error="DecodeError"),
    _call("truncated zlib", "the data is no application/x-gzip stream", zlib.compress(json.dumps(BODY).encode())[:-7],
          compression="application/x-gzip", error="DecodeError"),
    _call("no zlib", "the data is no zlib stream", b"plain", compression="zlib", error="DecodeError"),
    _call("eta is words", "'eta' is 'tomorrow', not an ISO 8601 time", eta="tomorrow"),
    _call("eta is a number", "'eta' is 12345, not an ISO 8601 time", eta=12345),
    _call("eta is a map", "'eta' is .*not an ISO 8601 time", eta={"at": 5}),
    _call("expires is words", "'expires' is 'never', not an ISO 8601 time", expires="never"),
    _call("expires is a list", "'expires' is .*not an ISO 8601 time", expires=[1]),
    _call("time limit is words", "the headers of call .* are wrong", timelimit="soon"),
    _call("time limit of three", "the headers of call .* are wrong", timelimit=[1, 2, 3]),
    _call("huge retries", "the headers of call .* are wrong", retries=10**30),
    _call("huge group index", "the headers of call .* are wrong", group_index=-(10**30)),
    _call("huge time limit", "the headers of call .* are wrong", timelimit=[10**30, None]),
    _call("group of half a pair", "'group' of the call is no text", group="\ud800"),
    _call("retries are words", "the headers of call .* are wrong", retries="many"),
    _call("group index is a list", "the headers of call .* are wrong", group_index=[1]),
    _call("stamps are a list", "the headers of call .* are wrong", stamps=[1]),
    _call("parent is a map", "the headers of call .* are wrong", parent_id={"id": 1}),
]  # fmt: skip

UNKNOWN = [
    _call("unknown task", "nobody.knows", task="nobody.knows", cause="unknown", error="NotRegistered"),
    _call("task of 100 kB", "xxxxxxxxxx", task="x" * 100_000, cause="unknown", error="NotRegistered"),
    _call("task with a zero byte", "zero", task="zero\0byte\n\x1b[31m", cause="unknown", error="NotRegistered"),
]

# Odd, and no reason to refuse the call: what is wrong is only told to people, or can be read in one way only.
ODD = {
    "shadow is a number": {"shadow": 7},
    "argsrepr is a list": {"argsrepr": [1, 2]},
    "origin is a map": {"origin": {"pid": 4}},
    "retries are negative": {"retries": -5},
    "huge time limits": {"timelimit": [1e300, float("inf")]},
    "negative time limits": {"timelimit": [-5, -5.0]},
    "time limits that are no number": {"timelimit": [float("nan"), float("nan")]},
    "unknown headers": {"x-own": {"deep": [1, {"er": 10**30}]}, "y": "\ud800"},
    "eta of the year 1": {"eta": "0001-01-01T00:00:00+00:00"},
    "expires in the year 9999": {"expires": "9999-12-31T23:59:59.999999+00:00"},
    "huge priority": {"priority": 10**30},
    "id of 100 kB": {"id": "odd-" + "x" * 100_000},
}

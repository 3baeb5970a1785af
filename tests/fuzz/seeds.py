"""What each target is fed with first: whole messages as we and Celery write them, and words that decoders stumble over."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from tests.fuzz.targets import COMPRESSIONS, METHODS, SERIALIZERS, signer

from sedano.protocol import compression, control, envelope, results, serializers
from sedano.protocol.call import build

HUGE = "9" * 4300  # the longest integer that Python reads

# One of these goes into the place of another piece of the input.
TOKENS = [
    b"null", b"true", b"[]", b"{}", b'""', b"0", b"-1", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1e300", b"-0.0",
    HUGE.encode(), b"18446744073709551616", b"-9223372036854775809", b'"\\ud800"', b"\xff\xfe", b"\x00", b'"__type__"',
    b'{"__type__": "bytes", "__value__": 5}', b'{"__type__": "decimal", "__value__": "sNaN"}',
    b'{"__type__": "datetime", "__value__": "9999-12-31T23:59:59.999999-23:59"}', b'{"__type__": "uuid", "__value__": {}}',
    b'"task": "a", "task": "b",', b'"0001-01-01T00:00:00"', b'"9999-12-31T23:59:59+00:00"', b"[" * 2000, b'{"a":' * 2000,
    b"&a [*a]", b"!!python/object:os.system x", b"1:59:59:59", b"\xdd\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01",
    b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff", b'"x-sedano-deliveries": 99999999999999999999',
    b'"x-sedano-parked-until": NaN',
    b'"pcre"', b'"(" ', b'"a{99999999999}"', b'"[[:x"', b'"exc_type"', b'"SystemExit"', b'"a\\u0000b"', b"*-1\r\n", b"$9\r\n",
    b"%1\r\n*0\r\n+a\r\n", b">1\r\n", b":x\r\n", b",nan\r\n", b"(9\r\n",
]  # fmt: skip


def _calls() -> list[bytes]:
    plain = build("proj.add", "id-1", (2, 3), {"x": [1.5, None]}, routing_key="celery")
    full = build(
        "proj.add", "id-2", (2, b"\xff"), routing_key="celery", eta="2030-01-01T00:00:00+00:00", expires="2031-01-01T00:00:00",
        time_limit=10, soft_time_limit=5.5, retries=2, group_id="g", group_index=1, compression="zlib", stamps={"a": ["b"]},
    )  # fmt: skip
    old = {"task": "t", "id": "i", "args": [1], "kwargs": {"a": 2}, "eta": "2030-01-01", "taskset": "g", "utc": True}
    return [envelope.encode(plain), envelope.encode(full), json.dumps(old).encode()]


def _headers() -> list[bytes]:
    known = {
        "lang": "py", "task": "t", "id": "i", "root_id": "r", "parent_id": "p", "group": "g", "group_index": 1, "retries": 2,
        "eta": "2030-01-01T00:00:00+00:00", "expires": "2031-01-01T00:00:00", "timelimit": [10, 5.5], "shadow": "s",
        "argsrepr": "(1,)", "kwargsrepr": "{}", "origin": "o", "ignore_result": False, "replaced_task_nesting": 0,
        "stamped_headers": ["a"], "stamps": {"a": ["b"]}, "x-sedano-deliveries": 1, "x-sedano-parked-until": 5.5,
        "compression": "application/x-gzip", "redelivered": True,
    }  # fmt: skip
    return [json.dumps(known).encode(), json.dumps({"task": "t", "id": "i", "args": [], "kwargs": {}}).encode()]


def _bodies() -> list[bytes]:
    value = [[1, "a", None, 2.5], {"k": [True]}, {"callbacks": [{"task": "t"}], "errbacks": None, "chain": [], "chord": None}]
    found: list[bytes] = []
    for number, name in enumerate(SERIALIZERS):
        data = serializers.dumps(value, name)[2]
        for place, method in enumerate(COMPRESSIONS):
            first = next(byte for byte in range(256) if byte % 3 == number and byte // 16 % len(COMPRESSIONS) == place)
            found.append(bytes([first]) + (compression.compress(data, method)[0] if method else data))
    return found


def _records() -> list[bytes]:
    error = ValueError("wrong", 5)
    found: list[bytes] = []
    for number, name in enumerate(SERIALIZERS):
        first = bytes([number])
        found += [
            first + results.encode_meta(results.success("i", {"a": [1]}, date_done="2030-01-01T00:00:00"), name),
            first + results.encode_meta(results.failure("i", error, date_done="2030-01-01", traceback="tb"), name, "gzip"),
            first + results.chord_part_payload("i", "SUCCESS", [1], name),
            first + results.chord_part_payload("i", "FAILURE", error, name),
        ]
    return found


def _commands() -> list[bytes]:
    to = control.ReplyTo("reply.celery.pidbox", "r")
    asked = control.request("ping", {"a": 1}, pattern="celery@*", matcher="glob", ticket="t", reply_to=to, clock=3, expires=5.5)
    regex = control.request("revoke", {"task_id": ["a"]}, pattern="celery@.+", matcher="pcre")
    read = control.read_request(asked)
    return [
        envelope.encode(asked),
        asked.body,
        regex.body,
        envelope.encode(control.reply("celery@a", {"ok": "pong"}, read)),
    ]


def _compressed() -> list[bytes]:
    return [compression.compress(data, method)[0] for method in METHODS for data in (b"", b"abc" * 50, bytes(1 << 16))]


def _signed() -> list[bytes]:
    whole = signer().serialize([[1], {}, {}]).encode()
    return [whole, base64.b64encode(b"\x00\x01".join(base64.b64decode(whole).split(b"\x00\x01", 4)[:4]))]


def _replies() -> list[bytes]:
    return [
        b"*3\r\n$3\r\nabc\r\n:5\r\n*-1\r\n",
        b"%2\r\n+a\r\n,1.5\r\n+b\r\n#t\r\n",
        b"-ERR no\r\n$-1\r\n_\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n",
        b"!3\r\nERR\r\n=7\r\ntxt:abc\r\n(123\r\n~1\r\n:1\r\n|1\r\n+a\r\n+b\r\n:1\r\n",
    ]


_MAKERS: dict[str, Callable[[], list[bytes]]] = {
    "envelope": _calls,
    "headers": _headers,
    "body": _bodies,
    "record": _records,
    "control": _commands,
    "compressed": _compressed,
    "signed": _signed,
    "redis-reply": _replies,
}


def seeds(target: str) -> list[bytes]:
    return _MAKERS[target]()

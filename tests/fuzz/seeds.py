"""What each target is fed with first: whole messages as we and Celery write them, and words that decoders stumble over."""

from __future__ import annotations

import base64
import json
import pickle
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


def _obeyed() -> list[bytes]:
    """One of each command, and with arguments that may stand in each place."""
    given: dict[str, dict[str, object]] = {
        "active": {"safe": True}, "active_queues": {}, "add_consumer": {"queue": "q", "exchange": "e", "exchange_type": "topic",
        "routing_key": "k", "queue_arguments": {"x-max-priority": 5}, "durable": True}, "autoscale": {"max": 3, "min": 1},
        "cancel_consumer": {"queue": "q"}, "clock": {}, "conf": {"with_defaults": True}, "disable_events": {},
        "dump_active": {},
        "dump_conf": {}, "dump_reserved": {"safe": False}, "dump_revoked": {}, "dump_schedule": {}, "dump_tasks": {},
        "election": {"id": "i", "topic": "task", "action": {"task": "t", "args": [], "kwargs": {}, "options": {}}},
        "enable_events": {}, "health": {}, "heartbeat": {}, "hello": {"from_node": "celery@b", "revoked": {"i": 5.5}},
        "memdump": {"samples": 3}, "memsample": {}, "objgraph": {"num": 2, "max_depth": 1, "type": "Request"}, "ping": {},
        "pool_grow": {"n": 1}, "pool_shrink": {"n": 1}, "query_task": {"ids": ["a", "b"]},
        "rate_limit": {"task_name": "fuzzed.task", "rate_limit": "10/m"},
        "registered": {"taskinfoitems": ["rate_limit"], "builtins": True}, "report": {}, "reserved": {},
        "revoke": {"task_id": ["a"], "terminate": True, "signal": "SIGTERM"}, "revoked": {}, "scheduled": {"safe": True},
        "revoke_by_stamped_headers": {"headers": {"h": ["v"]}, "terminate": True, "signal": 15}, "stats": {},
        "terminate": {"task_id": "a", "signal": "KILL"}, "time_limit": {"task_name": "fuzzed.task", "hard": 5, "soft": 2.5},
    }  # fmt: skip
    wanted = {"ticket": "t", "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "r"}}
    return [json.dumps({"method": name, "arguments": words, **wanted}).encode() for name, words in given.items()]


def _events() -> list[bytes]:
    common = {"hostname": "celery@a", "utcoffset": 0.0, "pid": 5, "clock": 7, "timestamp": 1.8e9}
    worker = {"freq": 2.0, "active": 1, "processed": 5, "loadavg": [0.1, 0.2, 0.3], "sw_ident": "py-celery", "sw_ver": "5.4.0"}
    task = {
        "uuid": "i", "name": "t", "args": "(1,)", "kwargs": "{}", "root_id": "i", "parent_id": "p", "retries": 1, "eta": None,
        "expires": None, "queue": "q", "exchange": "", "routing_key": "k", "result": "5", "runtime": 0.5, "exception": "E()",
        "traceback": "tb", "terminated": False, "signum": None, "expired": True, "requeue": False,
    }  # fmt: skip
    kinds = ["worker-online", "worker-heartbeat", "worker-offline"]
    calls = ["sent", "received", "started", "succeeded", "failed", "retried", "rejected", "revoked", "progress"]
    elections = {"id": "an election", "topic": "task", "action": {"task": "t"}, "cver": 1}
    found = [{**common, **worker, "type": kind} for kind in kinds]
    found += [{**common, **task, "type": f"task-{kind}"} for kind in calls]
    found += [{**common, **elections, "type": kind} for kind in ("worker-elect", "worker-elect-ack")]
    return [*(json.dumps(one).encode() for one in found), json.dumps(found).encode()]


class _Kept:
    """Pickles as Celery's set of revoked ids does."""

    def __reduce__(self) -> tuple[object, ...]:
        return _Kept, (100, 10.5, {"id-1": 1.8e9, "id-2": 1.8e9}, 0)


def _state_dbs() -> list[bytes]:
    name = b"tests.fuzz.seeds\n_Kept\n"
    kept = pickle.dumps(_Kept(), 2).replace(name, b"celery.utils.collections\nLimitedSet\n")
    return [kept, pickle.dumps(["a", "b"], 4), pickle.dumps({"a": 1}, 0), b"\x80\x02]r\xff\xff\xff\x7f(X\x01\x00\x00\x00ae."]


def _requests() -> list[bytes]:
    head = b"Host: a\r\nAccept: */*\r\n\r\n"
    return [
        b"GET /livez HTTP/1.1\r\n" + head,
        b"HEAD /livez?a=b HTTP/1.0\r\n" + head,
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
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
    "commands": _obeyed,
    "events": _events,
    "statedb": _state_dbs,
    "http": _requests,
}


def seeds(target: str) -> list[bytes]:
    return _MAKERS[target]()

"""Small inputs that ask for much, and what fuzzers have found.

python -m tests.fuzz.bombs NAME        reads that bomb with a gigabyte of memory and 30 s of CPU, or dies
"""

from __future__ import annotations

import bz2
import json
import lzma
import resource
import sys
import zlib
from collections.abc import Callable, Sequence

from tests.fuzz.targets import TARGETS

JSON, MSGPACK, YAML = (bytes([number]) for number in range(3))
MEMORY_BYTES = 1 << 30
CPU_S = 60
DEEP = 1_000_000


def _request_at(clock: bytes) -> bytes:
    """A command that wants an answer, sent at this logical time."""
    body = b'{"method": "ping", "ticket": "t", "reply_to": {"exchange": "e", "routing_key": "r"}}'
    whole = {"body": body.decode(), "content-type": "application/json", "content-encoding": "utf-8", "properties": {}}
    return json.dumps({**whole, "headers": {"clock": 0}}).encode().replace(b'"clock": 0', b'"clock": ' + clock)


def _event_with(**fields: object) -> bytes:
    common = {"type": "task-sent", "hostname": "a", "uuid": "u", "timestamp": 1.8e9, "clock": 1}
    return json.dumps({**common, **fields}).encode()


# Target, input, what it is.
FOUND: list[tuple[str, bytes, str]] = [
    ("headers", b'{"task": "t", "id": "i", "x-sedano-deliveries": ' + b"9" * 4300 + b"}", "a count that no store can hold"),
    ("headers", b'{"task": "t", "id": "i", "x-sedano-parked-until": 1' + b"0" * 400 + b"}", "a time beyond every float"),
    ("headers", b'{"task": "t", "id": "i", "x-sedano-parked-until": NaN}', "a time that is no number"),
    ("control", b'{"method": "ping", "matcher": "pcre", "pattern": "a{99999999999999999999}"}', "a repetition without end"),
    ("control", _request_at(b"9" * 4300), "a logical clock that cannot be written once it is one more"),
    ("redis-reply", b"$x\r\n", "a length that is no number"),
    ("redis-reply", b"$" + b"9x" * 6000 + b"\r\n", "a length that is a long text"),
    ("redis-reply", b"%1\r\n*0\r\n+a\r\n", "a list as a key"),
    ("events", _event_with(parent_id=[]), "a list as the id of a parent"),
    ("events", _event_with(type="worker-elect", id="i", topic="t", clock=2**62), "a logical clock that nobody believes"),
    ("statedb", b"\x80\x02]q\x00X\x03\x00\x00\x00\xed\xa0\x80a.", "an id that no store can hold"),
    ("statedb", b"\x80\x02]r\xff\xff\xff\xff.", "a pickle that wants to remember four thousand million things"),
]


def _laughs(merge: str) -> bytes:
    """Nine levels of ten references each: a thousand million nodes."""
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, 10):
        again = ", ".join(f"*a{level - 1}" for _ in range(10))
        lines.append(f"a{level}: &a{level} " + merge.format(again))
    return "\n".join(lines).encode()


ZEROS = bytes(1 << 20)
_MANY = 1 << 10


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "130 MiB in zlib": ("compressed", lambda: zlib.compress(bytes(130 << 20), 1)),
    "a gigabyte in bzip2": ("compressed", lambda: bz2.compress(ZEROS) * _MANY),
    "a gigabyte in lzma": ("compressed", lambda: lzma.compress(ZEROS, preset=0) * _MANY),
    "nested arrays": ("headers", lambda: b"[" * DEEP + b"]" * DEEP),
    "nested maps": ("headers", lambda: b'{"task":' * DEEP),
    "nested arrays in a header": ("headers", lambda: b'{"task": "t", "id": "i", "stamps": ' + b"[" * DEEP),
    "nested msgpack": ("body", lambda: MSGPACK + b"\x91" * DEEP),
    "a msgpack array of 4 billion": ("body", lambda: MSGPACK + b"\xdd\xff\xff\xff\xff"),
    "a msgpack text of 4 gigabytes": ("body", lambda: MSGPACK + b"\xdb\xff\xff\xff\xff"),
    "nested yaml": ("body", lambda: YAML + b"[" * 20_000),
    "a thousand million aliases in yaml": ("body", lambda: YAML + _laughs("[{}]")),
    "a thousand million merges in yaml": ("body", lambda: YAML + _laughs("{{<<: [{}]}}")),
    "a yaml number of base 60": ("body", lambda: YAML + b"1" + b":59" * 300_000),
    "an integer of a million digits": ("headers", lambda: b'{"task": "t", "id": "i", "retries": ' + b"9" * 1_000_000 + b"}"),
    "a float of ten million digits": ("headers", lambda: b'{"task": "t", "timelimit": [0.' + b"1" * 10_000_000 + b", 1]}"),
    "a hundred thousand keys": ("headers", lambda: b"{" + b",".join(b'"%d": 1' % n for n in range(100_000)) + b"}"),
    "one key a million times": ("headers", lambda: b"{" + b",".join([b'"task": "t"'] * 1_000_000) + b', "id": "i"}'),
    "a key of ten megabytes": ("headers", lambda: b'{"task": "t", "id": "i", "' + b"k" * 10_000_000 + b'": 1}'),
    "a decimal of a huge exponent": ("headers", lambda: b'{"task": "t", "id": "i", "a": {"__type__": "decimal", "__value__": '
                                     b'"1e999999999999999999"}}'),
    "a regular expression of many groups": ("control", lambda: b'{"method": "ping", "matcher": "pcre", "pattern": "'
                                            + b"(" * 50_000 + b")" * 50_000 + b'"}'),
    "an array of a redis server": ("redis-reply", lambda: b"*1000000000\r\n" + b"*1000000000\r\n" * 100_000),
}  # fmt: skip


def main(names: Sequence[str]) -> None:
    whole = {name: (target, make()) for name, (target, make) in BOMBS.items() if not names or name in names}
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    for name, (target, data) in whole.items():
        print(name, flush=True)
        TARGETS[target](data)


if __name__ == "__main__":
    main(sys.argv[1:])

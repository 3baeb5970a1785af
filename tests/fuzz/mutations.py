"""Changes of bytes for fuzzers that know nothing of coverage."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.fuzz.seeds import TOKENS


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """One of `seeds` with one to four changes."""
    data = chance.choice(seeds)
    for _ in range(chance.randint(1, 4)):
        data = _changed(data, seeds, chance)
    return data


def _changed(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randint(0, len(data))
    to = min(len(data), at + chance.choice((0, 0, 1, 2, 4, 16, 64)))
    way = chance.randrange(6)
    if way == 0:
        return data[:at] + bytes(chance.randrange(256) for _ in range(chance.randint(1, 4))) + data[to:]
    if way == 1:
        return data[:at] + data[to:] if to > at else data[:at]
    if way == 2:
        return data[:to] + data[at:to] * chance.choice((1, 2, 50)) + data[to:]
    if way == 3:
        other = chance.choice(seeds)
        return data[:at] + other[chance.randint(0, len(other)) :]
    return _replaced(data, chance) if way == 4 else data[:at] + chance.choice(TOKENS) + data[to:]


def _replaced(data: bytes, chance: random.Random) -> bytes:
    """One value of a text - a number, a string, a word - in exchange for a token."""
    at = chance.randint(0, len(data))
    begin = max(data.rfind(mark, 0, at) for mark in (b":", b",", b"[")) + 1
    ends = [found for mark in (b",", b"]", b"}") if (found := data.find(mark, begin)) >= 0]
    return data[:begin] + chance.choice(TOKENS) + data[min(ends, default=len(data)) :]

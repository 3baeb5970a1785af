"""MessagePack as Kombu writes it: bytes stay bytes, tuples become lists. Loaded when first used; extra `msgpack`."""

from __future__ import annotations

from typing import Any

import msgpack


def encode(value: Any) -> bytes:
    packed: bytes = msgpack.Packer(use_bin_type=True).pack(value)
    return packed


def decode(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False)

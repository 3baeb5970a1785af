"""A store that has no room left.

    with redis_without_room("redis://localhost:6380/0", spare_bytes=1 << 20):
        ...                                  # a megabyte later every write that grows is refused

    with full_disk(Path("/mnt/small")):      # a small file system that holds a SQLite store
        ...                                  # not a byte can be written

A SQLite store alone is limited by its URL: `sqlite:///store.db?max_bytes=2097152`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

MOST_BYTES = 1 << 28
"""No larger file system is filled: a mistyped path must not fill your disk."""


@contextlib.contextmanager
def redis_without_room(url: str, *, spare_bytes: int = 0) -> Generator[None]:
    """Set `maxmemory` to what the server uses now and `spare_bytes` more, with policy `noeviction`; as before afterwards.

    Needs the Redis client package. Raises OperationalError when the server cannot be reached or lets nobody configure it.
    """
    from sedano.contracts import OpenOptions  # noqa: PLC0415 - only who asks for it needs the driver
    from sedano.drivers.redis.address import address_of  # noqa: PLC0415
    from sedano.drivers.redis.connection import Connection  # noqa: PLC0415
    from sedano.exceptions import BrokerUnavailable  # noqa: PLC0415

    with contextlib.closing(Connection(address_of(url, {}, OpenOptions()), BrokerUnavailable)) as connection:

        def asked(*words: str) -> bytes:
            answer = connection.command("CONFIG", "GET", *words)
            pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
            return bytes(dict(pairs)[words[0].encode()])

        before = [(word, asked(word)) for word in ("maxmemory", "maxmemory-policy")]
        told = bytes(connection.command("INFO", "memory")).split()
        used = next(int(line.partition(b":")[2]) for line in told if line.startswith(b"used_memory:"))
        connection.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        connection.command("CONFIG", "SET", "maxmemory", str(used + spare_bytes))
        try:
            yield
        finally:
            connection.close()  # it may have been lost meanwhile
            for word, value in before:
                connection.command("CONFIG", "SET", word, value)


@contextlib.contextmanager
def full_disk(folder: Path) -> Generator[None]:
    """Fill the file system that `folder` lies on to the last byte; it has room again afterwards.

    Raises ValueError for one that is larger than `MOST_BYTES`.
    """
    status = os.statvfs(folder)
    size = status.f_blocks * status.f_frsize
    if size > MOST_BYTES:
        raise ValueError(
            f"{folder} lies on a file system of {size >> 20} MiB: only those up to {MOST_BYTES >> 20} MiB are filled"
        )
    filler = folder / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 12)):
                pass
        yield
    finally:
        filler.unlink(missing_ok=True)

"""What a Celery worker kept in its state db (`--statedb`): the ids that were revoked there, read at the start of a node.

Nothing is written to the file: the store keeps what is revoked here. It holds pickles, of which only the one class is made, by
a stand-in, and plain values: no code of anybody's runs.
"""

from __future__ import annotations

import contextlib
import dbm
import io
import logging
import pickle
import pickletools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sedano.contracts import Coordination, Revoke
from sedano.exceptions import OperationalError

_logger = logging.getLogger("celery.worker.state")
REVOKES_KEPT_S = 10800.0  # as long as Celery keeps a revoke
_SUFFIXES = ("", ".db", ".dat", ".pag")
_LARGEST = 256 * 1024 * 1024  # bytes, unpacked


class _Kept:
    """Stands for Celery's set of revoked ids: (most, seconds, {id: when}, least)."""

    def __init__(self, _most: Any = 0, _seconds: Any = None, data: Any = None, _least: Any = 0) -> None:
        self.data = data

    def __setstate__(self, _state: Any) -> None:
        """Older ones have their data there in other forms; what matters came before."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("celery.utils.collections", "LimitedSet"):
            return _Kept
        if (module, name) == ("_codecs", "encode"):  # how old pickles write bytes
            return _bytes
        raise pickle.UnpicklingError(f"{module}.{name} has no business in a state db")


def _bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding!r}")
    return text.encode("latin1")


def adopt_state_db(path: str | None, open_coordination: Callable[[], Coordination]) -> None:
    """Let the store know the ids in the state db at `path`, if there is one."""
    ids = revoked_ids(path) if path else []
    if not ids:
        return
    try:
        with contextlib.closing(open_coordination()) as coordination:
            known = {order.task_id for order in coordination.revokes()[1]}
            orders = [Revoke(task_id) for task_id in ids if task_id not in known]
            if orders:
                coordination.revoke(orders, keep_s=REVOKES_KEPT_S)
    except OperationalError as exc:
        _logger.warning("%d revoked ids of the state db %s are not known to the store: %s", len(ids), path, exc)


def revoked_ids(path: str) -> list[str]:
    """The ids in the state db at `path`; [] where there is none. What cannot be read is told in the log."""
    if not any(Path(path + suffix).exists() for suffix in _SUFFIXES):
        return []
    try:
        return _read(path)
    except Exception as exc:  # whatever a file may hold: the node starts without it
        _logger.warning("the state db %s cannot be read, what was revoked there is not known here: %s", path, exc)
        return []


def _read(path: str) -> list[str]:
    with dbm.open(path, "r") as shelf:
        packed = shelf.get(b"zrevoked", None)
    return [] if packed is None else ids_in(packed)


def ids_in(packed: bytes) -> list[str]:
    """The ids in what a shelf keeps: a pickle of the packed pickle. Raises whatever a pickle can."""
    data = _load(packed)
    unpacking = zlib.decompressobj()
    inner = unpacking.decompress(data, _LARGEST)
    if unpacking.unconsumed_tail:
        raise ValueError(f"it holds more than {_LARGEST} bytes")
    kept = _load(inner)
    found = kept.data if isinstance(kept, _Kept) else kept
    return [name for name in found or () if isinstance(name, str) and name.isprintable()]


def _load(data: bytes) -> Any:
    for opcode, argument, _ in pickletools.genops(data):
        if isinstance(argument, int) and opcode.name.endswith("PUT") and argument > len(data):
            raise ValueError(f"it asks for {argument} places to remember things in")  # and pickle would make them all
    return _Reader(io.BytesIO(data)).load()

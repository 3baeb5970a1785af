"""Pickle, protocol 4, with Celery's names on the wire: classes that Celery defines are written as Celery's and read as ours.

A receiver that runs Celery finds its own classes; we find ours in what Celery wrote (`names.py`). Reading a pickle runs code
that its author chose: `decode` is only reached for content that the user's `accept_content` lets in.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

from sedano.exceptions import DecodeError, EncodeError
from sedano.protocol.names import wire_name, wire_object

PROTOCOL = 4


def encode(value: Any) -> bytes:
    """Raises `EncodeError` when something in `value` cannot be pickled."""
    try:
        out = io.BytesIO()
        probe = _Probe(out, PROTOCOL)
        probe.dump(value)
        if probe.found:
            out = io.BytesIO()
            _NamingPickler(out, PROTOCOL).dump(value)
    except Exception as exc:  # a `__reduce__` of the user's may raise anything
        raise EncodeError(f"cannot pickle the value: {exc}") from exc
    return out.getvalue()


def decode(data: bytes) -> Any:
    """Raises `DecodeError` for bytes that are no pickle, and for names that cannot be found here."""
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except Exception as exc:  # loading runs what the sender chose
        raise DecodeError(f"cannot unpickle the value: {type(exc).__name__}: {exc}") from exc


class _Probe(pickle.Pickler):
    """Pickles at full speed and notes whether it met something that must be written under Celery's name."""

    found = False

    def reducer_override(self, obj: Any, /) -> Any:
        if not self.found and wire_name(obj) is not None:
            self.found = True
        return NotImplemented


class _NamingPickler(pickle._Pickler):  # pyright: ignore[reportPrivateUsage] - the C pickler lets nobody choose a global's module
    def save_global(self, obj: Any, name: str | None = None) -> None:
        mapped = wire_name(obj)
        if mapped is None:
            super().save_global(obj, name)  # type: ignore[misc]
            return
        self.save(mapped[0])  # type: ignore[attr-defined]
        self.save(mapped[1])  # type: ignore[attr-defined]
        self.write(pickle.STACK_GLOBAL)  # type: ignore[attr-defined]
        self.memoize(obj)  # type: ignore[attr-defined]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        found = wire_object(module, name)
        return super().find_class(module, name) if found is None else found

"""`kombu.utils.encoding`: bytes and text."""

from __future__ import annotations

import sys
from typing import Any


def default_encoding(file: Any = None) -> str:
    del file
    return sys.getfilesystemencoding()


def str_to_bytes(s: Any) -> Any:
    return s.encode() if isinstance(s, str) else s


def bytes_to_str(s: Any) -> Any:
    return s.decode("utf-8", "replace") if isinstance(s, bytes) else s


def safe_str(s: Any, errors: str = "replace") -> str:
    """Text of anything; what cannot be shown says so."""
    if isinstance(s, bytes):
        return s.decode("utf-8", errors)
    return s if isinstance(s, str) else safe_repr(s, errors)


def safe_repr(o: Any, errors: str = "replace") -> str:
    """`repr` that never raises."""
    del errors
    try:
        return repr(o)
    except Exception as exc:  # whatever somebody's __repr__ does
        return f"<Unrepresentable {type(o)!r}: {exc!r}>"


ensure_bytes, from_utf8 = str_to_bytes, bytes_to_str

__all__ = ["bytes_to_str", "default_encoding", "ensure_bytes", "from_utf8", "safe_repr", "safe_str", "str_to_bytes"]

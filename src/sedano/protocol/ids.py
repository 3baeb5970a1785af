"""Random identifiers."""

from __future__ import annotations

import os


def new_id() -> str:
    """A random UUID (version 4) as text, in less than half of the time of `str(uuid.uuid4())`."""
    return _formatted(os.urandom(16).hex())


def new_ids() -> tuple[str, str]:
    """Two of them for one question to the system."""
    text = os.urandom(32).hex()
    return _formatted(text[:32]), _formatted(text[32:])


def _formatted(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}

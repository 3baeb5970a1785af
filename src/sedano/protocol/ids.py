"""Random identifiers."""

from __future__ import annotations

import os


def new_id() -> str:
    """A random UUID (version 4) as text, in less than half of the time of `str(uuid.uuid4())`."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) & 3]}{text[17:20]}-{text[20:]}"

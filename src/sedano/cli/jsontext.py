"""One value as one JSON document, whatever it holds and whatever the terminal can show."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any


def document_text(value: Any) -> str:
    """What JSON cannot say is said as text, NaN and infinity as null; fit to be printed on stdout."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False, allow_nan=False)
        text.encode(sys.stdout.encoding or "utf-8")
    except (ValueError, TypeError):  # among them: letters that the terminal's encoding has not, and halves of letters
        text = json.dumps(_sayable(value), default=str, allow_nan=False)
    return text


def _sayable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): _sayable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_sayable(item) for item in value]
    return value

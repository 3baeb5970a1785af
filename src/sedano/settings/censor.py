"""What of the settings may be shown: secrets are masked, in URLs as well as by the name of the setting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sedano.log import redact_url

MASK = "*" * 8
# As Celery: whatever is called like a secret is one.
_SECRET = re.compile(r"API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE|BEAT_DBURI", re.IGNORECASE)


def censored(key: object, value: Any) -> Any:
    """`value` as it may be shown under the name `key`; containers are copied, other objects are left as they are."""
    if isinstance(key, str) and _SECRET.search(key) and not isinstance(value, Mapping):
        return MASK
    if isinstance(value, Mapping):
        return {name: censored(name, inner) for name, inner in value.items()}
    if isinstance(value, str):
        return redact_url(value)
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(censored(None, item) for item in value)
    return value


def shown(key: str, value: Any, width: int = 120) -> str:
    """The repr of the censored value, cut to `width`; what has no repr is named by its type."""
    try:
        text = repr(censored(key, value))
    except Exception:  # a user's object may fail in any way, and showing it must not
        text = f"<{type(value).__name__}>"
    return text if len(text) <= width else f"{text[: width - 3]}..."

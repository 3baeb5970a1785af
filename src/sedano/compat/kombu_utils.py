"""`kombu.utils`, `kombu.utils.uuid`, `kombu.utils.objects`, `kombu.utils.url`."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from sedano.app.finding import symbol_by_name
from sedano.compat.later import children_of
from sedano.log import redact_url
from sedano.protocol.ids import new_id as uuid


def maybe_sanitize_url(url: Any, mask: str = "**") -> Any:
    """A URL without its password; anything else as it is."""
    del mask
    return redact_url(url) if isinstance(url, str) and "://" in url else url


# The import system looks for submodules only where there is a path; the finder of `as_celery` answers for them.
__path__: list[str] = []

__getattr__ = children_of("kombu.utils")

__all__ = ["cached_property", "maybe_sanitize_url", "symbol_by_name", "uuid"]

"""`celery.utils`: the names that user code takes."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from sedano import log
from sedano.compat.later import children_of
from sedano.log import LOG_LEVELS
from sedano.protocol.ids import new_id as uuid

gen_unique_id = uuid


def noop(*args: Any, **kwargs: Any) -> None:
    """Takes anything, does nothing."""
    del args, kwargs


# The import system looks for submodules only where there is a path; the finder of `as_celery` answers for them.
__path__: list[str] = []

__getattr__ = children_of("celery.utils")

__all__ = ["LOG_LEVELS", "cached_property", "gen_unique_id", "log", "noop", "uuid"]

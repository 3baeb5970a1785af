"""`kombu.utils`, `kombu.utils.uuid`."""

from __future__ import annotations

from functools import cached_property

from sedano.compat.later import children_of
from sedano.protocol.ids import new_id as uuid

# The import system looks for submodules only where there is a path; the finder of `as_celery` answers for them.
__path__: list[str] = []

__getattr__ = children_of("kombu.utils")

__all__ = ["cached_property", "uuid"]

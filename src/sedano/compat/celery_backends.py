"""`celery.backends` and `celery.backends.base`: the classes of result stores, for `isinstance`."""

from __future__ import annotations

from sedano.compat.later import children_of
from sedano.result.backend import Backend, DisabledBackend

BaseBackend = KeyValueStoreBackend = Backend
__path__: list[str] = []  # `celery.backends.base` is this very module

__getattr__ = children_of("celery.backends")

__all__ = ["Backend", "BaseBackend", "DisabledBackend", "KeyValueStoreBackend"]

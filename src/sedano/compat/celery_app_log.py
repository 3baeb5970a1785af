"""`celery.app.log`: what `app.log` is made of."""

from __future__ import annotations

import importlib
from typing import Any

from sedano.log import TaskFormatter, get_logger, mlevel


def __getattr__(name: str) -> Any:
    """`Logging` brings the worker's modules along: who only wants the formatter must not pay for them."""
    if name == "Logging":
        return importlib.import_module("sedano.worker.applog").Logging
    raise AttributeError(f"module 'celery.app.log' has no attribute {name!r}")


__all__ = ["TaskFormatter", "get_logger", "mlevel"]

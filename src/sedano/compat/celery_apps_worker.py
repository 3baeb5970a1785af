"""`celery.apps.worker`: the class of a node, as receivers of signals get it; see `sedano.worker.controller`."""

from __future__ import annotations

from sedano.worker.controller import WorkController as Worker

__all__ = ["Worker"]

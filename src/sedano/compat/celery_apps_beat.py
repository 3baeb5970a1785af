"""`celery.apps.beat`: a beat as a program; see `sedano.beat.program`."""

from __future__ import annotations

from sedano.beat.program import Beat

__all__ = ["Beat"]

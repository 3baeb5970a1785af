from __future__ import annotations

from tests.apps import app, make_app

__all__ = ["app", "make_app"]

from __future__ import annotations

from tests.apps import app, make_app
from tests.servers import redis_server

__all__ = ["app", "make_app", "redis_server"]

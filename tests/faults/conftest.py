from __future__ import annotations

from tests.faults.served import served
from tests.servers import redis_server

__all__ = ["redis_server", "served"]

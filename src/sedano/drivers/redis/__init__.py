"""Redis and Valkey: Celery's layout, our leases beside it. Start with `keys.py`."""

from sedano.drivers.redis.address import SCHEMES
from sedano.drivers.redis.address import is_same_server as shares_store
from sedano.drivers.redis.opening import open_broker, open_bus, open_coordination, open_results

__all__ = ["SCHEMES", "open_broker", "open_bus", "open_coordination", "open_results", "shares_store"]

"""The fixture `store` of each driver's suite comes from `stores.py`."""

from tests.servers import redis_server

__all__ = ["redis_server"]

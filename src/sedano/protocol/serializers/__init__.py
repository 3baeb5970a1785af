"""Values <-> bytes, by name and MIME type: json (with Celery's typed values), pickle, raw; others by `register`."""

from sedano.protocol.serializers.json import register_type
from sedano.protocol.serializers.registry import accept_types, dumps, known_type, loads, register, unregister

__all__ = ["accept_types", "dumps", "known_type", "loads", "register", "register_type", "unregister"]

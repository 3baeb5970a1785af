"""Values <-> bytes by name and MIME type: json (with typed values), raw, pickle, yaml, msgpack, and others by `register`."""

from sedano.protocol.serializers.json import register_type
from sedano.protocol.serializers.registry import accept_types, adopt, dumps, known_type, loads, name_of, register, unregister

__all__ = ["accept_types", "adopt", "dumps", "known_type", "loads", "name_of", "register", "register_type", "unregister"]

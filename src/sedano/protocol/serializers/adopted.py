"""Serializers that others brought: what was registered with Kombu in a process that has loaded it, and the entry points
`kombu.serializers` of installed packages. Nothing here imports Kombu.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from sedano.protocol.serializers.json import register_type

Register = Callable[..., None]

ENTRY_POINTS = "kombu.serializers"
# Where Kombu's own serializers come from: ours read and write the same, and are not to be replaced by them.
_KOMBUS = ("kombu", "celery", "yaml", "msgpack")

_seen: dict[str, Any] = {}


def take_from_kombu(register: Register) -> None:
    """`register` what was registered with Kombu since the last time, over what was there under its name."""
    kombu = sys.modules.get("kombu.serialization")
    registry = getattr(kombu, "registry", None)
    if registry is None or not hasattr(registry, "_encoders"):
        return  # not loaded, or the alias's own, or another thread is importing it just now
    for name, (content_type, content_encoding, encoder) in list(registry._encoders.items()):
        if encoder is None or _seen.get(name) is encoder or _is_kombus(encoder):
            continue
        _seen[name] = encoder
        register(name, encoder, registry._decoders.get(content_type), content_type, content_encoding)
    json = sys.modules.get("kombu.utils.json")
    for kind, (marker, encoder) in list(getattr(json, "_encoders", {}).items()):
        key = f"type {kind.__module__}.{kind.__qualname__}"
        if _seen.get(key) is encoder or _is_kombus(encoder) or kind.__module__ in _DEFAULT_TYPES:
            continue
        _seen[key] = encoder
        register_type(kind, marker, encoder, getattr(json, "_decoders", {}).get(marker, lambda value: value))


def take_entry_points(register: Register) -> None:
    """`register` what installed packages offer. Looking for them takes some 10 ms, so it is done for unknown names only."""
    for point in importlib.import_module("importlib.metadata").entry_points(group=ENTRY_POINTS):
        register(point.name, *point.load())


_DEFAULT_TYPES = ("datetime", "decimal", "uuid")


def _is_kombus(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).partition(".")[0] in _KOMBUS

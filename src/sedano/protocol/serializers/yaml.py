"""YAML as Kombu writes and reads it: the safe subset, which makes no objects. Loaded when it is first used; extra `yaml`."""

from __future__ import annotations

from typing import Any

import yaml


def encode(value: Any) -> bytes:
    return yaml.safe_dump(value).encode()


def decode(data: bytes) -> Any:
    # Not the C loader: it meets a deeply nested text with a stack overflow, where this one raises RecursionError.
    return yaml.safe_load(data)

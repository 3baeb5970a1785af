"""YAML as Kombu writes and reads it: the safe subset, which makes no objects. Loaded when it is first used; extra `yaml`.

Small texts may ask for much: references to references of lists, merges of merges, numbers of base 60. What they add up to is
bounded here, PyYAML does not.
"""

from __future__ import annotations

from typing import Any

import yaml

from sedano.exceptions import DecodeError

MOST_REFERRED = 1_000_000
"""How many values the aliases of one text may stand for."""
_LONGEST_NUMBER = 4300  # digits, as in Python


def encode(value: Any) -> bytes:
    return yaml.safe_dump(value).encode()


def decode(data: bytes) -> Any:
    return yaml.load(data, Loader=_Loader)  # noqa: S506 - it is a safe loader


# Not the C loader: it meets a deeply nested text with a stack overflow, where this one raises RecursionError.
class _Loader(yaml.SafeLoader):
    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._values = self._referred = 0
        self._sizes: dict[int, int] = {}  # id of an anchored node: how many values it holds

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            node = super().compose_node(parent, index)
            size = self._sizes.get(id(node), 1)
            self._referred += size
            if self._referred > MOST_REFERRED:
                raise DecodeError(f"the aliases of the YAML text stand for more than {MOST_REFERRED} values")
            self._values += size
            return node
        before = self._values
        self._values += 1
        node = super().compose_node(parent, index)
        if node is not None:
            self._sizes[id(node)] = self._values - before
        return node

    def construct_yaml_int(self, node: Any) -> int:
        if len(node.value) > _LONGEST_NUMBER:
            raise DecodeError(f"a number of {len(node.value)} digits in the YAML text")
        value: int = super().construct_yaml_int(node)
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)

"""Stamps: labels on a signature and on everything that it spawns. They are options, and `stamped_headers` lists their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

NAMES = "stamped_headers"


class StampingVisitor(ABC):
    """Says, part by part, what a workflow is stamped with.

    Each method is given the part and the stamps so far, and returns more of them. A returned `stamped_headers` says which of
    the keys are stamps; without it all are.
    """

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        """For each call."""

    def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
        """Before the members of a group."""
        del group, headers
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:  # noqa: B027 - to be overridden by who wants to
        """After the members of a group."""

    def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any]:
        """Before the steps of a chain."""
        del chain, headers
        return {}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:  # noqa: B027 - to be overridden by who wants to
        """After the steps of a chain."""

    def on_chord_header_start(self, sig: Any, **header: Any) -> dict[str, Any]:
        """Before the header of the chord `sig`; as `on_group_start` unless it is overridden."""
        return self.on_group_start(sig.header_group(), **header)

    def on_chord_header_end(self, sig: Any, **header: Any) -> None:
        """After the header of the chord `sig`."""
        self.on_group_end(sig.header_group(), **header)

    def on_chord_body(self, sig: Any, **header: Any) -> dict[str, Any]:
        """For the body of the chord `sig`."""
        del sig, header
        return {}

    def on_callback(self, callback: Any, **header: Any) -> dict[str, Any]:
        """For each callback of a part."""
        del callback, header
        return {}

    def on_errback(self, errback: Any, **header: Any) -> dict[str, Any]:
        """For each errback of a part."""
        del errback, header
        return {}


def collect(
    headers: Mapping[str, Any], said: Mapping[str, Any] | None, own: Mapping[str, Any] | None, *, appends: bool
) -> dict[str, Any]:
    """The stamps of a part: `headers` from outside, what a visitor `said`, and those that stand in its `own` options.

    The first to name a stamp wins; with `appends` the values are collected in a list.
    """
    stamps = dict(headers)
    stamps.setdefault(NAMES, [name for name in stamps if name != NAMES])
    if said is not None:
        more = dict(said)
        more.setdefault(NAMES, [name for name in more if name != NAMES])
        _merge(stamps, more, appends=appends)
    if own is not None:
        stamps[NAMES] = [*stamps[NAMES], *(own.get(NAMES) or ())]
        _merge(stamps, {name: own[name] for name in own if name in stamps[NAMES]}, appends=appends)
    stamps[NAMES] = list(dict.fromkeys(stamps[NAMES]))
    return stamps


def _merge(stamps: dict[str, Any], more: Mapping[str, Any], *, appends: bool) -> None:
    for name, value in more.items():
        if name not in stamps:
            stamps[name] = value
        elif name == NAMES:
            stamps[name] = [*stamps[name], *value]
        elif isinstance(stamps[name], dict) and isinstance(value, Mapping):
            stamps[name] = dict(stamps[name])
            _merge(stamps[name], value, appends=appends)
        elif appends:
            stamps[name] = [*_several(stamps[name]), *_several(value)]
        elif isinstance(stamps[name], list) and isinstance(value, list):
            stamps[name] = [*stamps[name], *value]


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set) else [] if value is None else [value]

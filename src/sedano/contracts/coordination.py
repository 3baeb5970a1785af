"""Locks, revokes and paused queues: what the nodes of a cluster agree on through a store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from sedano.contracts.queues import Pause
from sedano.protocol.call import Call


class Revoke(msgspec.Struct, frozen=True):
    """An order not to run a call. `terminate` also ends it where it runs, with the signal named `signal` ("SIGTERM")."""

    task_id: str
    terminate: bool = False
    signal: str = "SIGTERM"


class Throttled(msgspec.Struct, frozen=True):
    """The answer to `throttle`: `wait_s` 0.0 lets the call begin, and counts it; else ask again after so many seconds, and
    leave the call in its queue until then if it is `far`."""

    wait_s: float = 0.0
    far: bool = False


_STAMP = "stamp\n"  # no id of a task has a line break


def stamp_order(header: str, value: object) -> str:
    """The name under which the calls that bear the stamp `value` under `header` stand among the revoked ids."""
    return _STAMP + json.dumps([header, stamp_key(value)])


def stamps_of(headers: object) -> dict[str, object]:
    """{header: stamp or list of stamps} out of such a map or of ["header=stamp", ...]. Raises TypeError or ValueError."""
    if isinstance(headers, Mapping):
        given = {header: _plain(stamps) for header, stamps in headers.items()}
    elif isinstance(headers, list | tuple):
        given = {}
        for pair in headers:
            header, mark, stamp = str(pair).partition("=")
            if not (header and mark):
                raise ValueError(f"{pair!r} is no header=stamp")
            given[header] = stamp
    else:
        raise TypeError(f"headers are a {type(headers).__name__}: give a map from headers to stamps, or header=stamp")
    for header in given:
        if not isinstance(header, str) or not header:
            raise TypeError(f"{header!r} is no name of a header")
    return given


def stamp_orders(headers: Mapping[str, object]) -> list[str]:
    """The names of all stamps in a map that `stamps_of` gave."""
    return [
        stamp_order(header, stamp)
        for header, stamps in headers.items()
        for stamp in (stamps if isinstance(stamps, list) else [stamps])
    ]


def _plain(stamps: object) -> object:
    return list(stamps) if isinstance(stamps, list | tuple | set | frozenset) else stamps


def stamp_key(value: object) -> str:
    """A text that is the same for equal stamps, whatever JSON has made of them."""
    return json.dumps(value, sort_keys=True, default=repr)


def revoked_stamps(names: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """Header -> keys of its revoked stamps (`stamp_key`), of all that stand among the revoked ids."""
    found: dict[str, set[str]] = {}
    for name in names:
        if name.startswith(_STAMP):
            header, key = json.loads(name.removeprefix(_STAMP))
            found.setdefault(header, set()).add(key)
    return {header: frozenset(keys) for header, keys in found.items()}


def revoking_stamp(call: Call, revoked: Mapping[str, frozenset[str]]) -> dict[str, Any] | None:
    """{header: stamp} for which the call is revoked; None when it bears none of them. `revoked` maps headers to keys."""
    for header in call.stamped_headers or ():
        keys = revoked.get(header)
        stamps = call.stamps.get(header)
        if not keys or stamps is None:
            continue
        for stamp in stamps if isinstance(stamps, list | tuple | set | frozenset) else (stamps,):
            if stamp_key(stamp) in keys:
                return {header: stamp}
    return None


def revoked_calls(orders: Iterable[Revoke]) -> list[str]:
    """The ids of calls among what was revoked: neither workflows nor stamps."""
    return [order.task_id for order in orders if "\n" not in order.task_id]


class Coordination(Protocol):
    """One connection; not thread-safe. Every method may raise `BrokerUnavailable`."""

    # -- revokes ------------------------------------------------------------------------------------------------------

    def revoke(self, orders: Sequence[Revoke], *, keep_s: float) -> int:
        """Add to the set for `keep_s` seconds; returns the new revision, which every `TurnReply` shows."""
        ...

    def revokes(self) -> tuple[int, list[Revoke]]:
        """The revision and all orders that are still kept."""
        ...

    def revision(self) -> int: ...

    # -- pauses -------------------------------------------------------------------------------------------------------

    def pause(self, pauses: Sequence[Pause]) -> None:
        """From the return of this call on no turn reserves or begins anything of these queues, known ones or not, until they
        are resumed: `contracts/broker.py`. Kept by the store as its messages are. A second order replaces the first."""
        ...

    def resume(self, queues: Sequence[str]) -> list[str]:
        """End their pauses and wake who waits for work; returns those that were paused, in the order given."""
        ...

    def pauses(self) -> list[Pause]:
        """All that hold now, by the queue's name."""
        ...

    # -- rate limits of the whole cluster -----------------------------------------------------------------------------

    def throttle(self, name: str, per_s: float, *, returns: bool = False) -> Throttled:
        """May one more call begin now, when `per_s` of them may begin a second in the whole cluster? `rules/rates.py` decides,
        by the store's clock; `returns` as there."""
        ...

    # -- locks --------------------------------------------------------------------------------------------------------

    def acquire(self, name: str, owner: str, *, ttl_s: float) -> int | None:
        """Take the lock: its term (a number that grows with every change of owner), or None when another has it.

        `ttl_s` is measured by the store's clock. Acquiring what one has renews it and keeps the term.
        """
        ...

    def release_lock(self, name: str, owner: str) -> bool: ...

    def holder(self, name: str) -> tuple[str, int] | None:
        """(owner, term) or None."""
        ...

    def reconnect(self) -> None: ...

    def close(self) -> None: ...

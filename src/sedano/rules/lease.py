"""When a lease has run out, and when its holder must stop beginning work.

Terms. A lease is the right of an owner to its deliveries. Its holder adds one to the lease's *beats* at every renewal. There is
no expiry time in the store: clocks of two machines cannot be compared. Each reaper keeps, on its own monotonic clock, since
when it has seen the same beats of the same fence; after the lease time it takes the owner over, and the take-over names the
fence and beats it saw, so that a renewal that comes between makes it fail.

    holder renews every LEASE/6 ........ and stops *beginning* calls at 2/3 of the lease without a renewal
    reaper looks every LEASE/4 ......... and takes over after a whole LEASE of standstill

So a holder that is alive and cut off stops beginning before anybody may take its work, whatever the wall clocks say; one that
was stopped (SIGSTOP, a suspended machine) and resumes finds its fence refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


class LeaseLike(Protocol):
    """What the watch needs of a lease record (`contracts.broker.LeaseRecord` is one)."""

    @property
    def owner(self) -> str: ...
    @property
    def fence(self) -> int: ...
    @property
    def beats(self) -> int: ...


L = TypeVar("L", bound=LeaseLike)

BEGIN_FRACTION = 2 / 3
RENEWALS_PER_LEASE = 6
LOOKS_PER_LEASE = 4


def may_begin(renewed_at: float, now: float, lease_s: float) -> bool:
    """Whether a holder whose lease was last renewed at `renewed_at` may begin more calls. Both are monotonic seconds."""
    return now - renewed_at < lease_s * BEGIN_FRACTION


def renew_every(lease_s: float) -> float:
    return lease_s / RENEWALS_PER_LEASE


def look_every(lease_s: float) -> float:
    return lease_s / LOOKS_PER_LEASE


@dataclass(slots=True)
class _Sighting:
    fence: int
    beats: int
    since: float


class LeaseWatch:
    """What one reaper has seen of other owners' leases. Feed it every look at the store's leases."""

    def __init__(self) -> None:
        self._seen: dict[str, _Sighting] = {}
        self._last = 0.0

    def observe(self, records: Sequence[L], now: float, lease_s: float) -> list[L]:
        """The records whose fence and beats have stood still for `lease_s` up to `now` (monotonic seconds).

        Owners that are not among `records` are forgotten. A reaper that was itself stopped for a while takes nobody over
        at its first look: what it has not watched it has not seen standing still, so a gap between two looks longer than
        half the lease starts every watch anew.
        """
        gap = now - self._last if self._seen else 0.0
        if gap > lease_s / 2:
            self._seen.clear()
        self._last = now
        expired: list[L] = []
        seen: dict[str, _Sighting] = {}
        for record in records:
            sighting = self._seen.get(record.owner)
            if sighting is None or (sighting.fence, sighting.beats) != (record.fence, record.beats):
                sighting = _Sighting(record.fence, record.beats, now)
            elif now - sighting.since >= lease_s:
                expired.append(record)
            seen[record.owner] = sighting
        self._seen = seen
        return expired

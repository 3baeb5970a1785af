"""Which of the beats sends: the one that has the lock, for as long as it renews it.

The store's clock decides. What a beat thinks it has is checked again in the step that sends (`Schedules.fire`), so one that was
asleep when its time ran out does no harm.
"""

from __future__ import annotations

from sedano.clock import Clock
from sedano.contracts import Coordination, Fence

TTL_S = 3.0
RENEW_S = 1.0
STANDBY_S = 0.5
"""How often a beat that does not lead asks for the lock: with the lock's life it makes the time of a change of leaders."""


class Leading:
    """This beat's part in it. `coordination` is used by one thread."""

    def __init__(self, coordination: Coordination, space: str, owner: str, clock: Clock) -> None:
        self.lock = f"beat.{space}"
        self.owner = owner
        self.leader: str | None = None
        self._coordination = coordination
        self._clock = clock
        self._fence: Fence | None = None
        self._renew_at = 0.0

    @property
    def leads(self) -> bool:
        return self._fence is not None

    def hold(self) -> Fence | None:
        """The right to send, taken or renewed when it is time to; None while another beat has it. Raises BrokerUnavailable."""
        now = self._clock.monotonic()
        if self._fence is None or now >= self._renew_at:
            term = self._coordination.acquire(self.lock, self.owner, ttl_s=TTL_S)
            self._fence = None if term is None else Fence(self.lock, self.owner, term)
            self._renew_at = now + RENEW_S
            if self._fence is None:
                holder = self._coordination.holder(self.lock)
                self.leader = holder[0] if holder else None
            else:
                self.leader = self.owner
        return self._fence

    def lost(self) -> None:
        """The store says that another leads."""
        self._fence = None

    def resign(self) -> None:
        """Let the next one lead at once."""
        if self._fence is not None:
            self._fence = None
            self._coordination.release_lock(self.lock, self.owner)

    def reconnect(self) -> None:
        """Raises BrokerUnavailable."""
        self._coordination.reconnect()

    def close(self) -> None:
        self._coordination.close()

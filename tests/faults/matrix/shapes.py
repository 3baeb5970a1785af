"""What the matrix is made of, as values: stores, pools, ack modes, and what a fault is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tests.faults.matrix.stage import Stage

Setting = Literal["plain", "lasting", "proxy", "sentinel", "small disk", "impatient"]
"""What a fault needs around the store: a server of its own (Redis then writes every command to its file before it answers); a
proxy between the nodes and the server; a master with a replica and a sentinel; a disk of a few MB; SQLite that waits half a
second for a lock."""

STORES = ("sqlite", "redis", "rabbitmq")
ACKS = ("early", "late")
LEASE_S = 2.0


@dataclass(frozen=True)
class Pool:
    """`parts`: the processes below the supervisor that can be killed apart. `slots`: how many calls the first node runs at
    once, `few` each of the others. `step_s`: a call takes up to seven of these. `coroutines`: its tasks are `async def`.
    `like`: the pool with the same processes and the same way of speaking to the store."""

    options: tuple[str, ...]
    parts: frozenset[str] = frozenset()
    slots: int = 1
    few: int = 1
    step_s: float = 0.001
    coroutines: bool = False
    like: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Of its nodes."""
        return {"FAULT_COROUTINES": "1"} if self.coroutines else {}


PARTS = frozenset({"slot", "template", "supervisor"})

# A pool joins the matrix here, and nowhere else.
POOLS = {
    "processes": Pool((), PARTS, slots=2),
    "solo": Pool(("-P", "solo")),
    "threads": Pool(("-P", "threads"), PARTS, slots=8, few=4, step_s=0.005),
    "asyncio": Pool(("-P", "asyncio"), PARTS, slots=8, few=4, step_s=0.005, coroutines=True, like="threads"),
    "gevent": Pool(("-P", "gevent"), PARTS, slots=8, few=4, step_s=0.005),
    "eventlet": Pool(("-P", "eventlet"), PARTS, slots=8, few=4, step_s=0.005, like="gevent"),
}


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, under load.

    `act` does it as often as the stage asks for and calls `stage.hit` each time that it really did. `part` is the process that
    it is about: pools without it have no such cell. `must_interrupt`: it is about calls that run, so a run in which no begun
    call was hit shows nothing. `forgives`: what the store itself loses by this fault is told and not counted.
    `beside`: it meets nothing that runs calls, so pools that are `like` another have no such cell. `heartbeat_s`: of nodes on
    RabbitMQ, for the server to notice one that says nothing. `early_only`: stores on which it is nothing under late ack.
    """

    name: str
    title: str
    act: Callable[[Stage], None]
    stores: tuple[str, ...] = STORES
    part: str | None = None
    setting: Setting = "plain"
    lease_s: float = LEASE_S
    deliveries: int = 12
    must_interrupt: bool = False
    forgives: bool = False
    beside: bool = False
    heartbeat_s: int = 0
    early_only: tuple[str, ...] = ()

    def fits(self, store: str, pool: Pool, acks: str) -> bool:
        has_part = self.part is None or self.part in pool.parts
        has_acks = acks == "early" or store not in self.early_only
        return store in self.stores and has_part and has_acks and not (self.beside and pool.like)


@dataclass(frozen=True)
class Size:
    """How much one cell does."""

    calls: int
    kills: int
    grace_s: float  # of a container that is stopped

    def times(self, share: float) -> int:
        """Some faults are dearer than a kill: at least once, else this share of `kills`."""
        return max(1, round(self.kills * share))


FULL = Size(calls=2000, kills=12, grace_s=30.0)
LANES = Size(calls=600, kills=5, grace_s=10.0)  # pools of many calls in one process: each kill meets several
QUICK = Size(calls=300, kills=3, grace_s=5.0)

"""Who listens on the bus: an exchange, a routing key (None hears every one), a box."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from sedano.drivers.memory.waking import Waker
from sedano.protocol.events import hears
from sedano.protocol.message import Message

MOST_EVENTS = 10_000
"""For a listener that does not read: the oldest go."""


@dataclass(slots=True, eq=False)
class Box:
    """`is_pattern`: the routing key is that of a topic exchange, and the box holds no more than `MOST_EVENTS`."""

    exchange: str
    routing_key: str | None
    is_pattern: bool = False
    waker: Waker = field(default_factory=Waker)
    messages: deque[Message] = field(default_factory=deque[Message])

    def __post_init__(self) -> None:
        if self.is_pattern:
            self.messages = deque(maxlen=MOST_EVENTS)

    def hears(self, exchange: str, routing_key: str | None) -> bool:
        if exchange != self.exchange:
            return False
        if self.is_pattern:
            return hears(self.routing_key or "", routing_key or "")
        return routing_key == self.routing_key


class Switchboard:
    def __init__(self) -> None:
        self.boxes: set[Box] = set()

    def send(self, exchange: str, routing_key: str | None, message: Message) -> int:
        """Put `message` into every box that hears it; returns how many do."""
        hearing = [box for box in self.boxes if box.hears(exchange, routing_key)]
        for box in hearing:
            box.messages.append(message)
            box.waker.wake()
        return len(hearing)

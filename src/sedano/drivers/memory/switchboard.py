"""Who listens on the bus: an exchange, a routing key (None hears every one), a box."""

from __future__ import annotations

from dataclasses import dataclass, field

from sedano.drivers.memory.waking import Waker
from sedano.protocol.message import Message


@dataclass(slots=True, eq=False)
class Box:
    exchange: str
    routing_key: str | None
    waker: Waker = field(default_factory=Waker)
    messages: list[Message] = field(default_factory=list)


class Switchboard:
    def __init__(self) -> None:
        self.boxes: set[Box] = set()

    def send(self, exchange: str, routing_key: str | None, message: Message) -> int:
        """Put `message` into every box that hears it; returns how many do."""
        hearing = [box for box in self.boxes if (box.exchange, box.routing_key) == (exchange, routing_key)]
        for box in hearing:
            box.messages.append(message)
            box.waker.wake()
        return len(hearing)

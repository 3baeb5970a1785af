"""Where a message waits until it is due: on the server, in queues whose messages expire into the next one.

Level n holds for 2^n seconds. A message goes in at the top with the bits of its whole seconds as its routing key; each level
whose bit is 1 holds it, the others pass it on; below level 0 it reaches its queue by the name behind the bits. For quorum
queues these are Celery's own levels (`celery_delayed_N`); for classic ones there are classic ones of ours, with the same rules.
What is left below a second the node waits for itself, with the message in its hands and not acknowledged.

Sources: celery/app/amqp.py and kombu/transport/native_delayed_delivery.py of 5.7 for the names and arguments.
"""

from __future__ import annotations

import msgspec

from sedano.drivers.rabbitmq.channel import Channel
from sedano.drivers.rabbitmq.topology import declare, delay_levels
from sedano.rules.delays import DELAY_EXIT, LEVELS, LONGEST_DELAY_S, delayed_key


class Levels(msgspec.Struct, frozen=True):
    """One family of delay queues. `exit` is the exchange below level 0."""

    prefix: str
    exit: str
    queue_type: str

    @property
    def entry(self) -> str:
        return f"{self.prefix}_{LEVELS - 1}"

    def routing_key(self, seconds: int, queue: str) -> str:
        """`seconds` whole seconds from now, one at least, to `queue`."""
        return delayed_key(min(seconds, LONGEST_DELAY_S), queue)

    def declare(self, channel: Channel) -> None:
        """All levels. Repeating it is harmless."""
        declare(channel, delay_levels(self.queue_type, self.prefix, self.exit))

    def bind(self, channel: Channel, queue: str) -> None:
        channel.bind_queue(queue, self.exit, f"#.{queue}")


CELERYS = "celery_delayed"


def celerys(queue_type: str) -> Levels:
    return Levels(CELERYS, DELAY_EXIT, queue_type)


OURS = Levels("sedano_delayed", "sedano_delayed_delivery", "classic")

"""Delays that RabbitMQ keeps itself: levels of queues, each of which holds a message for 2^n seconds when the n-th bit of its
delay is set. The bits stand before the routing key, as in Kombu's native delayed delivery."""

from __future__ import annotations

import re
from typing import Final

LEVELS: Final = 28
LONGEST_DELAY_S: Final = 2**LEVELS - 1
DELAY_ENTRY: Final = f"celery_delayed_{LEVELS - 1}"
"""The exchange to which a message with a delay goes."""
DELAY_EXIT: Final = "celery_delayed_delivery"
"""The exchange that a message leaves them through, to that of its queue."""
DELAY_LEVELS: Final = "celery_delayed_"
"""What the names of all of these begin with."""

_BITS = re.compile(rf"(?:[01]\.){{{LEVELS}}}")


def delayed_key(seconds: int, routing_key: str) -> str:
    """The routing key with which a message for `routing_key` enters the levels: 1 to `LONGEST_DELAY_S` whole seconds."""
    if not 1 <= seconds <= LONGEST_DELAY_S:
        raise ValueError(f"a delay of {seconds} s is not between 1 and {LONGEST_DELAY_S}")
    return f"{'.'.join(f'{seconds:0{LEVELS}b}')}.{undelayed_key(routing_key)}"


def undelayed_key(routing_key: str) -> str:
    """The routing key without the bits of a delay, if there are any: a delivered message still has them."""
    found = _BITS.match(routing_key)
    return routing_key[found.end() :] if found else routing_key


def detour(left_s: float, routing_key: str) -> str | None:
    """The routing key of a producer's message that is to start in `left_s` seconds; None when that is less than a whole one.

    What is longer than the levels can hold is held as long as they can: the message still says when it is to start.
    """
    seconds = min(int(left_s), LONGEST_DELAY_S)
    return delayed_key(seconds, routing_key) if seconds >= 1 else None

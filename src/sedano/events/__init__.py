"""What the cluster announces, and how to follow it: `dispatcher`, `receiver`, the `state` made of it, `snapshot`, `dumper`."""

from sedano.events.dispatcher import EventDispatcher
from sedano.events.event import Event, event_exchange, get_exchange, group_from
from sedano.events.receiver import EventReceiver

__all__ = ["Event", "EventDispatcher", "EventReceiver", "event_exchange", "get_exchange", "group_from"]

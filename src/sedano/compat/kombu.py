"""What `import kombu` gives while the alias is on and Kombu is not installed: the names that Celery configurations use."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import sedano.compat.kombu_common as common
import sedano.compat.kombu_compression as compression
import sedano.compat.kombu_exceptions as exceptions
import sedano.compat.kombu_serialization as serialization
import sedano.compat.kombu_utils as utils
from sedano import current
from sedano.app.base import Celery
from sedano.app.connection import Connection as _Connection
from sedano.compat.kombu_serialization import disable_insecure_serializers, enable_insecure_serializers
from sedano.compat.later import children_of, comes_later
from sedano.protocol import queues as entity
from sedano.protocol.ids import new_id as uuid
from sedano.protocol.queues import Exchange, Queue, binding, lenders

__version__ = "5.7.0"
VERSION = version_info = (5, 7, 0)


class Connection(_Connection):
    """A connection to the broker at `hostname` (a URL), to declare exchanges and queues on."""

    def __init__(self, hostname: str = "amqp://localhost//", **_options: Any) -> None:
        super().__init__(Celery("kombu", broker=hostname, set_as_current=False), None)


BrokerConnection = Connection
_lent: WeakKeyDictionary[Celery, _Connection] = WeakKeyDictionary()


def _lend() -> Any:
    """The channel of the current app, for exchanges and queues that nobody has bound. Kombu refuses these."""
    app = current.get_app()
    if app is None:
        return None
    if app not in _lent:
        _lent[app] = app.connection()
    return _lent[app].default_channel


lenders.append(_lend)

_INSTALL = "install Kombu for it: pip install kombu"
_LATER: dict[str, str] = dict.fromkeys(
    (
        "Consumer",
        "Producer",
        "Message",
        "eventloop",
        "parse_url",
        "pools",
        "connections",
        "producers",
    ),
    _INSTALL,
)


def __getattr__(name: str) -> Any:
    if name in _LATER:
        raise comes_later("kombu", name, _LATER)
    return children_of("kombu")(name)


# The import system looks for submodules only where there is a path; the finder of `as_celery` answers for them.
__path__: list[str] = []

__all__ = [
    "VERSION",
    "BrokerConnection",
    "Connection",
    "Exchange",
    "Queue",
    "binding",
    "common",
    "compression",
    "disable_insecure_serializers",
    "enable_insecure_serializers",
    "entity",
    "exceptions",
    "serialization",
    "utils",
    "uuid",
    "version_info",
]

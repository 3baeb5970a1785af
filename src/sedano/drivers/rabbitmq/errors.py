"""What the server refuses, as errors of their own. Everything else that goes wrong is `BrokerUnavailable`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sedano.exceptions import BrokerUnavailable, OperationalError

if TYPE_CHECKING:
    from sedano.drivers.rabbitmq.frames import Returned

NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406


class Malformed(ValueError):
    """Bytes that are no AMQP 0-9-1. A connection turns it into `BrokerUnavailable`."""


class AccessRefused(OperationalError):
    """The server knows neither this user and password nor allows them the virtual host. Asking again does not help."""


class NotAnswered(BrokerUnavailable):
    """The server did not answer in the time that the caller gave it; the connection is as before."""


class ConnectionBlocked(BrokerUnavailable):
    """The server takes nothing from publishers for now (memory or disk alarm), and its reason is in the text."""


class ChannelClosed(OperationalError):
    """The server closed a channel: `code` and `text` are its words, `method` (class id, method id) what it was about."""

    def __init__(self, code: int, text: str, method: tuple[int, int] = (0, 0)) -> None:
        self.code, self.text, self.method = code, text, method
        super().__init__(f"{code} {text}")

    def __reduce__(self) -> Any:
        return type(self), (self.code, self.text, self.method)


class NotConfirmed(OperationalError):
    """The server did not take some messages (nack). `numbers` are those of `publish`; `returned` came back beside that."""

    def __init__(self, numbers: Sequence[int], returned: Sequence[Returned] = ()) -> None:
        self.numbers, self.returned = list(numbers), list(returned)
        super().__init__(f"the server did not take {len(self.numbers)} of the published messages")

    def __reduce__(self) -> Any:
        return type(self), (self.numbers, self.returned)

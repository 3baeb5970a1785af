"""What `app.connection()` gives: a handle for APIs of Celery that take a Kombu connection. It names a broker; whoever needs one
opens a connection of its own. Exchanges and queues can be declared on it; it does not publish and consume as Kombu's does."""

from __future__ import annotations

from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from sedano.app.channel import Channel, Exchanges
from sedano.app.connect import Stores
from sedano.app.schemes import DRIVERS, RABBITMQ, scheme_of
from sedano.log import redact_url

if TYPE_CHECKING:
    from sedano.app.base import Celery
    from sedano.contracts import Bus

_WITHOUT = (
    "{}: Sedano does not go through Kombu connections. To look at the broker use app.control, app.stores.open_broker(), or the"
    " sedano command."
)


class Transport(msgspec.Struct, frozen=True):
    """The driver, with Kombu's word for its kind."""

    driver_type: str


class Connection:
    """The broker of `app`, or the one at `url`. Takes no connection until something is done with it."""

    def __init__(self, app: Celery, url: str | None = None) -> None:
        self.app = app
        self._url = url
        self._server: Any = None
        self._default: Channel | None = None
        self.declared_entities: set[Any] = set()  # what Kombu's maybe_declare has made with it

    @property
    def transport(self) -> Transport:
        driver = DRIVERS[scheme_of(self._address)]
        return Transport("amqp" if driver == RABBITMQ else driver.rpartition(".")[2])

    @property
    def _address(self) -> str:
        return self._url or self.app.stores.broker_url

    @property
    def emitter(self) -> Any:
        """The app's own way out for events, None for another broker."""
        return getattr(self.app.events, "emitter", None) if self._url is None else None

    @property
    def stores(self) -> Stores:
        """The app's, with the broker of this connection."""
        if self._url is None:
            return self.app.stores
        return msgspec.structs.replace(
            self.app.stores, broker_url=self._url, write_url=self._url, broker_urls=(self._url,), write_urls=(self._url,)
        )

    def open_bus(self) -> Bus:
        """A connection that hears and sends commands and events."""
        return self.stores.open_bus()

    def open_exchanges(self) -> Exchanges | None:
        """A new channel where exchanges are declared; None for a broker that has none of its own. Raises OperationalError."""
        if self.transport.driver_type != "amqp":
            return None
        if self._server is None or not self._server.is_open:
            self._server = self.stores.open_server()
        channel: Exchanges = self._server.channel()
        return channel

    def connect(self) -> Self:
        """Look whether the broker is there. Raises OperationalError."""
        with closing(self.open_bus()) as bus:
            bus.reconnect()
        return self

    def ensure_connection(self, errback: Any = None, **_options: Any) -> Self:
        """As `connect`."""
        del errback
        return self.connect()

    def channel(self) -> Channel:
        return Channel(self)

    @property
    def default_channel(self) -> Channel:
        if self._default is None:
            self._default = Channel(self)
        return self._default

    def clone(self) -> Connection:
        return Connection(self.app, self._url)

    def as_uri(self, include_password: bool = False, mask: str = "**") -> str:
        del mask
        return self._address if include_password else redact_url(self._address)

    def close(self) -> None:
        """Idempotent; what is done with it afterwards opens it again."""
        server, self._server, self._default = self._server, None, None
        self.declared_entities.clear()
        if server is not None:
            server.close()

    release = close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith(("queue_", "exchange_", "prepare_queue_")):  # Kombu's entities take it for a channel
                return getattr(self.default_channel, name)
            raise AttributeError(_WITHOUT.format(f"app.connection().{name}"), name=name, obj=self)

    def __repr__(self) -> str:
        return f"<Connection: {self.as_uri()}>"


def without_kombu(app: Any, *_: Any, **__: Any) -> Any:
    """Celery gives a pool of connections, or a producer, which has no counterpart."""
    del app
    raise NotImplementedError(_WITHOUT.format("this door of the app"))

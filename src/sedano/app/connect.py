"""From URLs to drivers: the only place that loads one.

With no broker configured, the embedded store is used: see `home.py` for where it lies. Results are kept in the embedded
store only beside an embedded broker; with any other broker they are off unless `result_backend` is set, as in Celery.

A broker that keeps nothing but messages (RabbitMQ) leaves revokes, pauses, locks, rate limits of the whole cluster and
schedules to the store of `schedule_store`; where that is unset, to the embedded store, which is this host's alone.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import msgspec

from sedano.app import urls
from sedano.app.home import DATABASE, make_folder, store_folder
from sedano.app.schemes import (
    CELERYS,
    DRIVERS,
    EXTRAS,
    MESSAGES_ONLY,
    OF_ONE_HOST,
    RABBITMQ,
    RPC,
    check_holds_calls,
    check_holds_results,
    check_several,
    check_url,
    scheme_of,
)
from sedano.contracts import AmqpOptions, Broker, Bus, Coordination, Delivery, OpenOptions, Results, Schedules, Source
from sedano.exceptions import ImproperlyConfigured, OperationalError
from sedano.log import get_logger, redact_url
from sedano.rules.failover import Strategy

logger = get_logger(__name__)

# A child that is forked while another thread imports finds the module locked for ever: a fork waits for the end of an import.
_importing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release)


class Stores(msgspec.Struct, frozen=True):
    """Which stores an app uses, as plain values: `app.stores`.

    `broker_url` is for consuming, `write_url` for publishing (the same unless broker_read_url / broker_write_url differ);
    `broker_urls` and `write_urls` are all servers, where there are several, and `broker_url` is the one that is in use, or the
    first; `is_settled`: it is in use. `results_url` None: results are off. `embedded` is the folder of the embedded store when
    no broker is configured, else None; it is created when a driver is first opened. `schedules_url` None: the broker keeps the
    schedule, and what nodes agree on; `beside` is the folder of an embedded store that does so for a broker which cannot,
    else None.
    """

    broker_url: str
    write_url: str
    results_url: str | None
    embedded: Path | None
    options: OpenOptions = msgspec.field(default_factory=OpenOptions)
    results_options: OpenOptions = msgspec.field(default_factory=OpenOptions)
    broker_urls: tuple[str, ...] = ()
    write_urls: tuple[str, ...] = ()
    strategy: Strategy | None = None
    is_settled: bool = False
    schedules_url: str | None = None
    beside: Path | None = None

    def __repr__(self) -> str:
        urls = ", ".join(f"{name}={redact_url(url or 'off')}" for name, url in self._urls().items())
        return f"<Stores: {urls}>"

    def _urls(self) -> dict[str, str | None]:
        return {"broker": self.broker_url, "write": self.write_url, "results": self.results_url}

    @property
    def speaks_celery(self) -> bool:
        """Whether Celery workers may consume from the same queues."""
        return DRIVERS[scheme_of(self.broker_url)] in CELERYS

    @property
    def agrees_elsewhere(self) -> bool:
        """Whether revokes, pauses, locks and rate limits stand in another store than the messages."""
        return DRIVERS[scheme_of(self.broker_url)] in MESSAGES_ONLY

    @property
    def agrees_on_host(self) -> bool:
        """Whether that store is this host's alone, so that other hosts have to be told."""
        return (
            self.agrees_elsewhere and self.schedules_url is not None and (DRIVERS[scheme_of(self.schedules_url)] in OF_ONE_HOST)
        )

    @property
    def shared_results(self) -> bool:
        """Whether the consuming broker's settle writes results itself. Loads the driver."""
        return self.results_url is not None and _share(self.broker_url, self.results_url)

    @property
    def results_are_replies(self) -> bool:
        """Whether results are sent to whoever made the call, and kept nowhere: rpc://."""
        return self.results_url is not None and scheme_of(self.results_url) == RPC

    @property
    def delays_natively(self) -> bool:
        """Whether Celery's producers leave delays to queues of the broker, for quorum queues: RabbitMQ."""
        return DRIVERS[scheme_of(self.write_url)] == RABBITMQ

    @property
    def agreed(self) -> str:
        """For people: where revokes, pauses, locks and schedules stand beside a broker that keeps none; "" with others."""
        if not self.agrees_elsewhere or self.schedules_url is None:
            return ""
        where = redact_url(self.schedules_url) if self.beside is None else str(self.beside)
        return where + (", of this host alone (set schedule_store to share it)" if self.agrees_on_host else "")

    def at(self, place: int) -> Stores:
        """The same with the server at `place` of `broker_urls` for its broker, and no other."""
        if not self.broker_urls:
            return self
        return msgspec.structs.replace(self, broker_url=self.broker_urls[place], is_settled=True)

    def writing_at(self, place: int) -> Stores:
        """The same with the server at `place` of `write_urls` for publishing, and no other."""
        if not self.write_urls:
            return self
        return msgspec.structs.replace(self, write_url=self.write_urls[place], is_settled=True)

    def reachable(self) -> Stores:
        """For whoever has no server yet: with the first of several that answers, for consuming and for publishing alike;
        where none does, with the very first."""
        if self.is_settled or len(self.broker_urls) + len(self.write_urls) <= 2:
            return self
        read = _first_that_answers(self.broker_urls, lambda place: self.at(place).open_broker())
        if self.write_urls == self.broker_urls:
            write = read
        else:
            write = _first_that_answers(self.write_urls, lambda place: self.writing_at(place).open_broker(write=True))
        return self.at(read).writing_at(write)

    def open_broker(self, *, write: bool = False) -> Broker:
        """A connection for consuming, or for publishing. Raises ImproperlyConfigured when the driver refuses the URL."""
        stores = self.reachable()
        url = stores.write_url if write else stores.broker_url
        shared = self.results_url if self.results_url is not None and _share(url, self.results_url) else None
        broker: Broker = self._driver(url, "open_broker").open_broker(
            url, msgspec.structs.replace(self.options, results_url=shared)
        )
        return broker

    def open_node_broker(self) -> Broker:
        """The one connection of a node whose broker says Source.SUPERVISOR: its slots read their deliveries themselves."""
        records = self.results_url is not None and not self.results_are_replies
        amqp = msgspec.structs.replace(self.options.amqp, records_begun=records)
        options = msgspec.structs.replace(self.options, unread=True, amqp=amqp)
        return msgspec.structs.replace(self, options=options).open_broker()

    def fill(self) -> Callable[[Delivery], None] | None:
        """What reads deliveries that the broker has not read (`contracts/opening.py`); None where it reads them itself."""
        try:
            driver = self._driver(self.broker_url, "fill")
        except AttributeError:
            return None
        fill: Callable[[Delivery], None] = driver.fill
        return fill

    def open_results(self, reply_queue: str = "", place: int | None = None) -> Results:
        """Only when `results_url` is not None: otherwise results are off. For results that are replies, `reply_queue` is where
        this process hears those of its calls, and `place` that of `broker_urls` which it sends them to, if it sends."""
        if self.results_url is None:
            raise ImproperlyConfigured("No result backend is configured: set result_backend.")
        url = self.results_url
        if self.results_are_replies:
            url = (self.reachable() if place is None else self.at(place)).broker_url
        options = self.results_options
        if reply_queue:
            options = msgspec.structs.replace(options, amqp=msgspec.structs.replace(options.amqp, reply_queue=reply_queue))
        results: Results = self._driver(url, "open_results").open_results(url, options)
        return results

    def open_results_if_on(self) -> Results | None:
        """None when results are off."""
        return None if self.results_url is None else self.open_results()

    def open_coordination(self) -> Coordination:
        """Raises ImproperlyConfigured where the folder of the embedded store beside a broker cannot be made."""
        url = self._schedules_url() if self.agrees_elsewhere else self.reachable().broker_url
        coordination: Coordination = self._driver(url, "open_coordination").open_coordination(url, self.options)
        return coordination

    @property
    def schedules_share_broker(self) -> bool:
        """Whether an entry's message is written in the same step as its tick."""
        return self.schedules_url is None or self.schedules_url in self.broker_urls

    @property
    def carries_schedules(self) -> bool:
        """Whether there is a store for entries of a schedule."""
        try:
            self._schedules_url()
        except ImproperlyConfigured:
            return False
        return True

    def open_schedules(self, space: str) -> Schedules:
        """The entries of the app `space`. Raises ImproperlyConfigured when the store keeps no schedules."""
        url = self._schedules_url()
        schedules: Schedules = self._driver(url, "open_schedules").open_schedules(url, self.options, space)
        return schedules

    def open_schedule_coordination(self) -> Coordination:
        """The locks of the store that keeps the schedule."""
        url = self._schedules_url()
        coordination: Coordination = self._driver(url, "open_coordination").open_coordination(url, self.options)
        return coordination

    def _schedules_url(self) -> str:
        url = self.schedules_url or self.reachable().broker_url
        try:
            self._driver(url, "open_schedules")
        except AttributeError:
            raise ImproperlyConfigured(
                f"{redact_url(url)} keeps no schedules: set schedule_store to the URL of a store that does (sqlite:// or"
                " redis://), or beat_scheduler to celery.beat:PersistentScheduler"
            ) from None
        return url

    def open_server(self) -> Any:
        """A connection to a broker with exchanges (`drivers/rabbitmq/connection.py`), to declare them. Raises
        OperationalError."""
        url = self.reachable().write_url
        return self._driver(url, "open_server").open_server(url, self.options)

    def open_bus(self) -> Bus:
        url = self.reachable().broker_url
        bus: Bus = self._driver(url, "open_bus").open_bus(url, self.options)
        return bus

    def _driver(self, url: str, door: str) -> ModuleType:
        if self.embedded is not None:
            make_folder(self.embedded)
        if self.beside is not None and url == self.schedules_url:
            _make_beside(self.beside, self.broker_url)
        return load_driver(url, door)


def stores_of(conf: Any, module_file: str | None) -> Stores:
    """Resolve `conf` (app.conf) to stores. `module_file` is the file of the module that made the app, None at a prompt.

    Raises UnknownStore (no driver for the scheme) or ImproperlyConfigured (a URL that is none); never connects.
    """
    read, write = urls.broker_urls(conf, "broker_read_url"), urls.broker_urls(conf, "broker_write_url")
    embedded: Path | None = None
    if not read and not write:
        embedded = store_folder(module_file)
        read = write = (f"sqlite:///{quote(str(embedded / DATABASE))}",)
    read, write = read or write, write or read
    results = urls.results_url(conf, embedded=read[0] if embedded is not None else None)
    strategy: Strategy | None = conf.broker_failover_strategy
    for several, setting in ((read, "broker_url"), (write, "broker_write_url")):
        for url in several:
            check_url(url, setting)
            check_holds_calls(url, setting)
        check_several(several, setting, strategy)
    if results is not None:
        check_url(results, "result_backend")
        check_holds_results(results, read)
    schedules = conf.typed("schedule_store")
    beside: Path | None = None
    if schedules is not None:
        check_url(schedules, "schedule_store")
    elif any(DRIVERS[scheme_of(url)] in MESSAGES_ONLY for url in read):
        beside = store_folder(module_file)
        schedules = f"sqlite:///{quote(str(beside / DATABASE))}"
    options = _options(conf, for_results=False)
    replies = results is not None and scheme_of(results) == RPC
    results_options = options if replies else _options(conf, for_results=True)
    return Stores(
        read[0],
        write[0],
        results,
        embedded,
        options,
        results_options,
        read,
        write,
        strategy,
        schedules_url=schedules,
        beside=beside,
    )


def load_driver(url: str, *doors: str) -> ModuleType:
    """The driver package for `url`, with what it exports under `doors` imported; with all that it exports where none is named.

    Raises ImproperlyConfigured naming the extra when its client library is missing.
    """
    package = DRIVERS[scheme_of(url)]
    try:
        with _importing:
            driver = importlib.import_module(package)
            for door in doors or getattr(driver, "__all__", ()):
                getattr(driver, door)  # a package may import what is behind a door when it is first touched
            return driver
    except ModuleNotFoundError as exc:
        extra = EXTRAS.get((exc.name or "").partition(".")[0])
        if extra is None:
            raise
        raise ImproperlyConfigured(
            f'{redact_url(url)} needs the package {exc.name!r}, which is not installed: pip install "sedano[{extra}]"'
        ) from exc


def preload(conf: Any, module_file: str | None) -> None:
    """Import the drivers that `conf` names, so that a web server which forks has them in its children, and none of its
    threads imports one later. What is wrong with a URL is said by whoever uses it."""
    with contextlib.suppress(ImproperlyConfigured):
        stores = stores_of(conf, module_file)
        for url in (*stores.write_urls, *stores.broker_urls, stores.results_url):
            if url is not None:
                with contextlib.suppress(ImproperlyConfigured):
                    load_driver(url)


def _first_that_answers(several: Sequence[str], open_broker: Callable[[int], Broker]) -> int:
    for place, url in enumerate(several):
        try:
            with contextlib.closing(open_broker(place)) as broker:
                if broker.capabilities.source is Source.SUPERVISOR:
                    broker.declare(())  # connects; its leases are in this process: asking for them reaches no server
                else:
                    broker.leases()
        except OperationalError as exc:
            logger.warning("The broker %s cannot be reached: %s", redact_url(url), exc)
        else:
            if place:
                logger.warning("Using the broker %s", redact_url(url))
            return place
    return 0


def _options(conf: Any, *, for_results: bool) -> OpenOptions:
    read = conf.typed
    connect_s = read("broker_connection_timeout")
    options = OpenOptions(
        transport=read("broker_transport_options"),
        results_transport=_results_transport(conf),
        ssl=read("broker_use_ssl"),
        connect_timeout_s=4.0 if connect_s is None else connect_s,
        control_exchange=read("control_exchange"),
        event_exchange=read("event_exchange"),
        heartbeat_s=read("broker_heartbeat"),
        login_method=read("broker_login_method"),
        amqp=_amqp_options(conf),
    )
    if not for_results:
        return options
    connect_s = read("redis_socket_connect_timeout")
    return msgspec.structs.replace(
        options,
        ssl=read("redis_backend_use_ssl") or False,
        connect_timeout_s=options.connect_timeout_s if connect_s is None else connect_s,
        socket_timeout_s=read("redis_socket_timeout"),
    )


def _amqp_options(conf: Any) -> AmqpOptions:
    read = conf.typed
    return AmqpOptions(
        event_queue_prefix=read("event_queue_prefix"),
        event_queue_expires_s=read("event_queue_expires"),
        event_queue_ttl_s=read("event_queue_ttl"),
        event_queue_durable=bool(read("event_queue_durable")),
        event_queue_exclusive=bool(read("event_queue_exclusive")),
        control_queue_expires_s=read("control_queue_expires"),
        control_queue_ttl_s=read("control_queue_ttl"),
        control_queue_durable=bool(read("control_queue_durable")),
        control_queue_exclusive=bool(read("control_queue_exclusive")),
        result_persistent=bool(read("result_persistent")),
        record_ttl_s=read("worker_lease_time"),
        result_expires_s=read("result_expires") or None,
        result_serializer=read("result_serializer"),
        delayed_queue_type=read("broker_native_delayed_delivery_queue_type"),
    )


def _results_transport(conf: Any) -> dict[str, Any]:
    """Options of the result store. Connections are kept alive unless somebody says otherwise, which Celery's default is not."""
    keepalive = {"socket_keepalive": conf.typed("redis_socket_keepalive")}
    return {
        **(keepalive if conf.value_set_for("redis_socket_keepalive") else {}),
        **conf.typed("result_backend_transport_options"),
    }


def _make_beside(folder: Path, broker_url: str) -> None:
    try:
        make_folder(folder)
    except OSError as exc:
        raise ImproperlyConfigured(
            f"{redact_url(broker_url)} keeps no revokes, pauses, locks and schedules, and the folder for the embedded store"
            f" that would, {folder}, cannot be made ({exc}): set schedule_store to the URL of a store (redis:// or sqlite://)"
        ) from exc


def _share(broker_url: str, results_url: str) -> bool:
    if DRIVERS[scheme_of(broker_url)] != DRIVERS[scheme_of(results_url)]:
        return False
    if scheme_of(results_url) == RPC:
        return True
    return bool(load_driver(broker_url, "shares_store").shares_store(broker_url, results_url))

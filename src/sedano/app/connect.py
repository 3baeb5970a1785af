"""From URLs to drivers: the only place that loads one.

With no broker configured, the embedded store is used: see `home.py` for where it lies. Results are kept in the embedded
store only beside an embedded broker; with any other broker they are off unless `result_backend` is set, as in Celery.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from sedano.app import urls
from sedano.app.home import DATABASE, make_folder, store_folder
from sedano.contracts import Broker, Bus, Coordination, OpenOptions, Results, Schedules
from sedano.exceptions import ImproperlyConfigured, OperationalError, UnknownStore
from sedano.log import get_logger, redact_url
from sedano.nearest import hint
from sedano.rules.failover import Rotation, Strategy

logger = get_logger(__name__)

REDIS = "sedano.drivers.redis"
MEMORY = "sedano.drivers.memory"
# URL scheme -> driver package. A driver is imported when a URL of its scheme is opened.
DRIVERS: Mapping[str, str] = {
    "memory": MEMORY,
    "cache+memory": MEMORY,
    "sqlite": "sedano.drivers.sqlite",
    "redis": REDIS,
    "rediss": REDIS,
    "redis+socket": REDIS,
    "unix": REDIS,
    "socket": REDIS,
    "valkey": REDIS,
    "valkeys": REDIS,
    "sentinel": REDIS,
}
# What a driver needs besides Sedano itself: module that is missing -> extra that brings it.
EXTRAS: Mapping[str, str] = {"redis": "redis", "hiredis": "redis"}
# Schemes that Celery knows and we do not speak yet: the driver that will.
COMING: Mapping[str, str] = {
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "pyamqp": "rabbitmq",
    "librabbitmq": "rabbitmq",
    "rpc": "rabbitmq",
    "postgres": "postgres",
    "postgresql": "postgres",
    "sqs": "kombu",
    "kafka": "kombu",
    "confluentkafka": "kombu",
    "filesystem": "kombu",
    "zookeeper": "kombu",
    "mongodb": "kombu",
    "gcpubsub": "kombu",
    "sqlalchemy": "kombu",
    "sqla": "kombu",
    "slmq": "kombu",
    "qpid": "kombu",
    "consul": "kombu",
    "etcd": "kombu",
    "azurestoragequeues": "kombu",
    "azureservicebus": "kombu",
    "pyro": "kombu",
    "pgmq": "kombu",
}


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
    schedule.
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

    def __repr__(self) -> str:
        urls = ", ".join(f"{name}={redact_url(url or 'off')}" for name, url in self._urls().items())
        return f"<Stores: {urls}>"

    def _urls(self) -> dict[str, str | None]:
        return {"broker": self.broker_url, "write": self.write_url, "results": self.results_url}

    @property
    def speaks_celery(self) -> bool:
        """Whether Celery workers may consume from the same queues."""
        return DRIVERS[scheme_of(self.broker_url)] == REDIS

    @property
    def shared_results(self) -> bool:
        """Whether the consuming broker's settle writes results itself. Loads the driver."""
        return self.results_url is not None and _share(self.broker_url, self.results_url)

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

    def open_results(self) -> Results:
        """Only when `results_url` is not None: otherwise results are off."""
        if self.results_url is None:
            raise ImproperlyConfigured("No result backend is configured: set result_backend.")
        results: Results = self._driver(self.results_url, "open_results").open_results(self.results_url, self.results_options)
        return results

    def open_results_if_on(self) -> Results | None:
        """None when results are off."""
        return None if self.results_url is None else self.open_results()

    def open_coordination(self) -> Coordination:
        url = self.reachable().broker_url
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

    def open_bus(self) -> Bus:
        url = self.reachable().broker_url
        bus: Bus = self._driver(url, "open_bus").open_bus(url, self.options)
        return bus

    def _driver(self, url: str, door: str) -> ModuleType:
        if self.embedded is not None:
            make_folder(self.embedded)
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
        _check_several(several, setting, strategy)
    if results is not None:
        check_url(results, "result_backend")
    schedules = conf.typed("schedule_store")
    if schedules is not None:
        check_url(schedules, "schedule_store")
    options, results_options = _options(conf, for_results=False), _options(conf, for_results=True)
    return Stores(
        read[0], write[0], results, embedded, options, results_options, read, write, strategy, schedules_url=schedules
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


def scheme_of(url: str) -> str:
    return url.partition("://")[0].lower()


def check_url(url: str, setting: str) -> None:
    """Raise UnknownStore or ImproperlyConfigured, naming the part of `url` that is wrong."""
    shown = redact_url(url)
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ImproperlyConfigured(
            f"{setting}={shown!r} is no URL: it has no '://'. Write for example redis://localhost:6379/0 or sqlite:///path.db."
        )
    scheme = scheme.lower()
    if scheme not in DRIVERS:
        raise UnknownStore(_unknown(scheme, setting, shown))
    if scheme == "sentinel":
        return  # several hosts, which only the driver can take apart
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise ImproperlyConfigured(f"{setting}={shown!r}: the host or port is wrong ({exc}).") from exc


def _check_several(several: Sequence[str], setting: str, strategy: Strategy | None) -> None:
    """Raise ImproperlyConfigured for several servers that cannot stand in for each other, or in no such order."""
    if len(several) == 1:
        return
    rotation = Rotation(several, strategy)
    if len(set(several)) < len(several):
        raise ImproperlyConfigured(f"{setting} names a server twice: {_shown(several)}. Name each once.")
    rotation.after(0)
    if any(DRIVERS[scheme_of(url)] == MEMORY for url in several):
        raise ImproperlyConfigured(
            f"{setting} names several servers, and memory:// is one of them: {_shown(several)}. A store in this process's "
            "memory cannot go away, nor can it stand in for one that other processes use. Use sqlite:// or redis:// URLs."
        )


def _shown(several: Sequence[str]) -> str:
    return ", ".join(map(redact_url, several))


def _first_that_answers(several: Sequence[str], open_broker: Callable[[int], Broker]) -> int:
    for place, url in enumerate(several):
        try:
            with contextlib.closing(open_broker(place)) as broker:
                broker.leases()
        except OperationalError as exc:
            logger.warning("The broker %s cannot be reached: %s", redact_url(url), exc)
        else:
            if place:
                logger.warning("Using the broker %s", redact_url(url))
            return place
    return 0


def _unknown(scheme: str, setting: str, shown: str) -> str:
    known = ", ".join(f"{name}://" for name in sorted(DRIVERS))
    if scheme.startswith("db+"):
        return f"{setting}={shown!r}: SQLAlchemy result databases come later. Supported now: {known}"
    if scheme in COMING:
        later = f"{scheme}:// comes with the {COMING[scheme]} driver, which is not built yet"
        return f"{setting}={shown!r}: {later}. Supported now: {known}"
    meant = hint(scheme, DRIVERS, "{}://")
    return f"{setting}={shown!r}: there is no driver for {scheme}://.{meant} Supported: {known}"


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


def _results_transport(conf: Any) -> dict[str, Any]:
    """Options of the result store. Connections are kept alive unless somebody says otherwise, which Celery's default is not."""
    keepalive = {"socket_keepalive": conf.typed("redis_socket_keepalive")}
    return {
        **(keepalive if conf.value_set_for("redis_socket_keepalive") else {}),
        **conf.typed("result_backend_transport_options"),
    }


def _share(broker_url: str, results_url: str) -> bool:
    if DRIVERS[scheme_of(broker_url)] != DRIVERS[scheme_of(results_url)]:
        return False
    return bool(load_driver(broker_url, "shares_store").shares_store(broker_url, results_url))

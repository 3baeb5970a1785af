"""What the schemes of URLs mean: which driver speaks them, what for, and which URLs cannot stand where they are. Nothing is
opened or loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from sedano.exceptions import ImproperlyConfigured, UnknownStore
from sedano.log import redact_url
from sedano.nearest import hint
from sedano.rules.failover import Rotation, Strategy

REDIS = "sedano.drivers.redis"
RABBITMQ = "sedano.drivers.rabbitmq"
RPC = "rpc"  # results that are sent over the broker
MEMORY = "sedano.drivers.memory"
SQLITE = "sedano.drivers.sqlite"
# URL scheme -> driver package. A driver is imported when a URL of its scheme is opened.
DRIVERS: Mapping[str, str] = {
    "memory": MEMORY,
    "cache+memory": MEMORY,
    "sqlite": SQLITE,
    "redis": REDIS,
    "rediss": REDIS,
    "redis+socket": REDIS,
    "unix": REDIS,
    "socket": REDIS,
    "valkey": REDIS,
    "valkeys": REDIS,
    "sentinel": REDIS,
    "amqp": RABBITMQ,
    "amqps": RABBITMQ,
    "pyamqp": RABBITMQ,
    "librabbitmq": RABBITMQ,
    RPC: RABBITMQ,
}
# Whose queues Celery's workers may consume from at the same time.
CELERYS = (REDIS, RABBITMQ)
# Brokers that keep messages and nothing else: revokes, pauses, locks and schedules go to another store.
MESSAGES_ONLY = (RABBITMQ,)
# Stores that other hosts cannot use.
OF_ONE_HOST = (MEMORY, SQLITE)
# What a driver needs besides Sedano itself: module that is missing -> extra that brings it.
EXTRAS: Mapping[str, str] = {"redis": "redis", "hiredis": "redis"}
# Schemes that Celery knows and we do not speak yet: the driver that will.
COMING: Mapping[str, str] = {
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


def check_holds_calls(url: str, setting: str) -> None:
    if scheme_of(url) == RPC:
        raise ImproperlyConfigured(
            f"{setting}={redact_url(url)!r}: rpc:// is for result_backend only. RabbitMQ as the broker is amqp://host//"
        )


def check_holds_results(results: str, brokers: Sequence[str]) -> None:
    """Raise ImproperlyConfigured for results on RabbitMQ that are kept there, or sent without it."""
    if DRIVERS[scheme_of(results)] != RABBITMQ:
        return
    if scheme_of(results) != RPC:
        raise ImproperlyConfigured(
            f"result_backend={redact_url(results)!r}: RabbitMQ keeps no results. Set result_backend to rpc://, which sends "
            "each one to its caller, or to a store that keeps them, such as redis://"
        )
    other = next((url for url in brokers if DRIVERS[scheme_of(url)] != RABBITMQ), None)
    if other is not None:
        raise ImproperlyConfigured(
            f"result_backend={redact_url(results)!r} sends results over RabbitMQ, and the broker is {redact_url(other)}: set "
            "result_backend to the URL of a store, which may be the broker's own, or take RabbitMQ (amqp://) as the broker"
        )


def check_several(several: Sequence[str], setting: str, strategy: Strategy | None) -> None:
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


def _unknown(scheme: str, setting: str, shown: str) -> str:
    known = ", ".join(f"{name}://" for name in sorted(DRIVERS))
    if scheme.startswith("db+"):
        return f"{setting}={shown!r}: SQLAlchemy result databases come later. Supported now: {known}"
    if scheme in COMING:
        later = f"{scheme}:// comes with the {COMING[scheme]} driver, which is not built yet"
        return f"{setting}={shown!r}: {later}. Supported now: {known}"
    meant = hint(scheme, DRIVERS, "{}://")
    return f"{setting}={shown!r}: there is no driver for {scheme}://.{meant} Supported: {known}"

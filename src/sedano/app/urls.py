"""URLs of stores out of settings: one of several, built from parts, completed by parts. Nothing is opened or looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from sedano.exceptions import UnknownStore
from sedano.log import get_logger, redact_url

logger = get_logger(__name__)

RESULTS_OFF = ("disabled", "disabled://")
# Schemes of one server behind a host: what their URL leaves out may be given by settings of its own.
_ONE_SERVER = ("redis", "rediss", "valkey", "valkeys", "amqp", "amqps", "pyamqp", "librabbitmq")


class Parts(msgspec.Struct, frozen=True):
    """What settings say about a server beside its URL; None for what they do not."""

    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: str | None = None
    path: str | int | None = None  # the virtual host, or the number of the database


def broker_url(conf: Any, setting: str) -> str | None:
    """The URL of `broker_read_url` or `broker_write_url`, which mean `broker_url` where they are unset; None for no broker.

    `conf` is `app.conf`.
    """
    url, host, transport = first_url(conf[setting], setting), conf.broker_host, conf.broker_transport
    if url is None and host and "://" in host:
        url = host
    elif url is None and (transport or host):
        scheme = transport or "amqp"
        default = "localhost" if scheme in _ONE_SERVER else ""
        url = f"{scheme}://{host or default}"
    if url is None:
        return None
    port, path = conf.typed("broker_port"), conf.broker_vhost
    return completed(url, Parts(port=port, user=conf.broker_user, password=conf.broker_password, path=path))


def results_url(conf: Any, *, embedded: str | None) -> str | None:
    """The URL of the result store, None for none; `embedded` where the setting is unset. Raises UnknownStore for a class."""
    value: object = conf.result_backend
    if value is None or value == "":
        return embedded
    if not isinstance(value, str) or ("://" not in value and not value.replace("+", "").isalnum()):
        raise UnknownStore(
            f"result_backend={value!r}: backend classes and objects are not supported; give a URL such as redis://localhost/0"
        )
    if value in RESULTS_OFF:
        return None
    parts = Parts(conf.redis_host, conf.typed("redis_port"), conf.redis_username, conf.redis_password)
    if "://" in value:
        return completed(value, parts) if value.startswith(("redis", "valkey")) else value
    # Celery's aliases: "redis", "rpc", "cache+memory".
    return f"{completed('redis://', parts)}/{conf.typed('redis_db') or 0}" if value == "redis" else f"{value}://"


def completed(url: str, parts: Parts) -> str:
    """`url` with what it leaves out put in from `parts`; as it is, unless it names one server behind a host."""
    if parts == Parts() or url.partition("://")[0].lower() not in _ONE_SERVER:
        return url
    try:
        given = urlsplit(url)
        port = given.port or parts.port
    except ValueError:
        return url  # what is wrong with it is said when it is checked
    user = given.username or quote(parts.user or "", safe="")
    password = given.password or quote(parts.password or "", safe="")
    host = given.hostname or parts.host or ("localhost" if port else "")
    login = f"{user}{f':{password}' if password else ''}@" if user or password else ""
    where = f"[{host}]" if ":" in host else host
    path = given.path if given.path.strip("/") or parts.path is None else f"/{str(parts.path).removeprefix('/')}"
    return urlunsplit((given.scheme, f"{login}{where}{f':{port}' if port else ''}", path, given.query, given.fragment))


def first_url(value: str | Sequence[str] | None, setting: str) -> str | None:
    """The URL of a setting that may hold several (a list, or joined by `;`): the first, with a warning about the rest."""
    if not value:
        return None
    if isinstance(value, str) and value.startswith("sentinel://"):
        return value
    urls = [part.strip() for part in value.split(";")] if isinstance(value, str) else list(value)
    if len(urls) > 1:
        logger.warning(
            "%s names %d URLs; failover is not built yet, only the first is used: %s", setting, len(urls), redact_url(urls[0])
        )
    return urls[0] or None

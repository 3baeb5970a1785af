"""URLs of stores out of settings: one or several, built from parts, completed by parts. Nothing is opened or looked up."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from sedano.exceptions import UnknownStore

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


def broker_urls(conf: Any, setting: str) -> tuple[str, ...]:
    """The URLs of `broker_read_url` or `broker_write_url`, which mean `broker_url` where they are unset; none for no broker.

    `conf` is `app.conf`.
    """
    urls, host, transport = list(conf.typed(setting) or ()), conf.broker_host, conf.broker_transport
    if not urls and host and "://" in host:
        urls = [host]
    elif not urls and (transport or host):
        scheme = transport or "amqp"
        default = "localhost" if scheme in _ONE_SERVER else ""
        urls = [f"{scheme}://{host or default}"]
    port, path = conf.typed("broker_port"), conf.broker_vhost
    parts = Parts(port=port, user=conf.broker_user, password=conf.broker_password, path=path)
    return tuple(completed(url, parts) for url in urls)


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

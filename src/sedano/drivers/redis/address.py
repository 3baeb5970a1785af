"""Where a Redis server is and how to speak to it: URLs and options as one value. No I/O.

    redis://[user:password@]host[:port][/db]        TCP; also valkey://
    rediss://...                                    TLS; also valkeys://
    redis+socket:///path[?virtual_host=db]          a Unix socket; also unix://, socket://
    sentinel://host:port[/db];sentinel://host:port  the master that the sentinels name (option `master_name`)

What the query says overrides the options, as in Celery.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from sedano.contracts import OpenOptions
from sedano.exceptions import ImproperlyConfigured
from sedano.log import redact_url

SCHEMES = ("redis", "rediss", "redis+socket", "unix", "socket", "valkey", "valkeys", "sentinel")

_SOCKET_SCHEMES = ("redis+socket", "unix", "socket")
_TLS_SCHEMES = ("rediss", "valkeys")
_TLS_OPTIONS = (
    "ssl_cert_reqs",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_ca_data",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_check_hostname",
    "ssl_ciphers",
)
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class Server(msgspec.Struct, frozen=True):
    """A TCP address, or a Unix socket when `path` is set."""

    host: str = ""
    port: int = 6379
    path: str = ""


class Sentinels(msgspec.Struct, frozen=True):
    """Who knows the master. `options` are for the connections to the sentinels themselves (`sentinel_kwargs`)."""

    servers: tuple[Server, ...]
    master_name: str
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Address(msgspec.Struct, frozen=True):
    """Everything that a connection needs. `shown` is the URL without its password; `tls` None is a plain connection."""

    shown: str
    server: Server
    db: int = 0
    username: str = ""
    password: str = ""
    credentials: Any = None  # an object with get_credentials(), redis-py's CredentialProvider for one
    tls: Mapping[str, Any] | None = None
    sentinels: Sentinels | None = None
    connect_timeout_s: float = 4.0
    socket_timeout_s: float | None = 120.0
    keepalive: bool = True
    keepalive_options: Mapping[int, int] = msgspec.field(default_factory=dict)
    client_name: str = ""


def address_of(url: str, transport: Mapping[str, Any], options: OpenOptions) -> Address:
    """The address that `url` and the options mean. Raises `ImproperlyConfigured` when they mean none."""
    try:
        parsed = [_parse(one) for one in _several(url)]
        if not parsed or (len(parsed) > 1 and any(one.scheme != "sentinel" for one in parsed)):
            raise ValueError("one server, or several sentinels joined by ;")
        return _address(redact_url(url), parsed, transport, options)
    except ValueError as error:
        forms = "redis://host:6379/0, rediss://, redis+socket:///path or sentinel://host:26379;sentinel://host2:26379"
        raise ImproperlyConfigured(f"{redact_url(url)!r} is no URL of a Redis server ({error}): write {forms}") from error


def is_same_server(first: str, second: str) -> bool:
    """Whether two URLs name one server and account, whatever the database."""

    def identity(url: str) -> object:
        parsed = [_parse(one) for one in _several(url)]
        return sorted(
            (_family(one.scheme), _loopback(one.server.host), one.server.port, one.server.path, one.username, one.password)
            for one in parsed
        )

    try:
        return bool(first and second) and identity(first) == identity(second)
    except ValueError:
        return False


class _Parsed(msgspec.Struct, frozen=True):
    scheme: str
    server: Server
    db: int | None
    username: str
    password: str
    query: dict[str, str]


def _several(url: str) -> list[str]:
    return [one for one in re.split(r";(?=[A-Za-z+]+://|$)", url) if one]


def _parse(url: str) -> _Parsed:
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"scheme {scheme!r} is none of {', '.join(SCHEMES)}")
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    database = query.pop("virtual_host", "") or query.pop("db", "")
    path = unquote(parts.path)
    if scheme in _SOCKET_SCHEMES:
        if not path.strip("/"):
            raise ValueError("the path of the socket is missing")
        server = Server(path=path)
    else:
        server = Server(parts.hostname or "localhost", parts.port or (26379 if scheme == "sentinel" else 6379))
        database = database or path
    return _Parsed(scheme, server, _database(database), unquote(parts.username or ""), unquote(parts.password or ""), query)


def _database(text: str) -> int | None:
    text = text.strip("/")
    if text and not text.isdecimal():
        raise ValueError(f"the database is a number, not {text!r}")
    return int(text) if text else None


def _address(shown: str, parsed: list[_Parsed], transport: Mapping[str, Any], options: OpenOptions) -> Address:
    first = parsed[0]
    given = _Given({**transport, **first.query})
    databases = [one.db for one in parsed if one.db is not None]
    return Address(
        shown=shown,
        server=first.server,
        db=databases[0] if databases else int(given.text("db", "virtual_host", default="0").strip("/") or 0),
        username=first.username or given.text("username"),
        password=first.password or given.text("password"),
        credentials=given.get("credential_provider"),
        tls=_tls(first, given, options),
        sentinels=_sentinels(parsed, given) if first.scheme == "sentinel" else None,
        connect_timeout_s=given.seconds("socket_connect_timeout") or options.connect_timeout_s,
        socket_timeout_s=given.seconds("socket_timeout") or options.socket_timeout_s,
        keepalive=given.flag("socket_keepalive", default=True),
        keepalive_options=given.get("socket_keepalive_options") or {},
        client_name=given.text("client_name"),
    )


def _sentinels(parsed: list[_Parsed], given: _Given) -> Sentinels:
    name = given.text("master_name")
    if not name:
        raise ValueError("the transport option master_name is missing: it says which master the sentinels are asked for")
    return Sentinels(tuple(one.server for one in parsed), name, given.get("sentinel_kwargs") or {})


def _tls(first: _Parsed, given: _Given, options: OpenOptions) -> Mapping[str, Any] | None:
    wanted = {name: given.get(name) for name in _TLS_OPTIONS if given.get(name) is not None}
    if isinstance(options.ssl, Mapping):
        wanted = {**options.ssl, **wanted}
    if first.scheme in _TLS_SCHEMES or options.ssl or given.flag("ssl", default=False):
        return wanted
    if any(name in first.query for name in _TLS_OPTIONS):
        raise ValueError("ssl_ parameters need the scheme rediss://")
    return None


class _Given:
    """Options by Celery's names, with or without the `redis_` that its settings carry."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def get(self, name: str) -> Any:
        value = self._values.get(name)
        return self._values.get("redis_" + name) if value is None else value

    def text(self, *names: str, default: str = "") -> str:
        found = [self.get(name) for name in names]
        return next((str(value) for value in found if value not in (None, "")), default)

    def seconds(self, name: str) -> float | None:
        value = self.get(name)
        return None if value in (None, "", "None") else float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.get(name)
        if value is None:
            return default
        if isinstance(value, str):
            if value.lower() not in _TRUE + _FALSE:
                raise ValueError(f"{name} is a truth value, not {value!r}")
            return value.lower() in _TRUE
        return bool(value)


def _family(scheme: str) -> str:
    return "socket" if scheme in _SOCKET_SCHEMES else scheme.replace("valkeys", "rediss").replace("valkey", "redis")


def _loopback(host: str) -> str:
    return "localhost" if host in ("127.0.0.1", "::1") else host

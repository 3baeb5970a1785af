"""TLS contexts from Celery's options: `ssl_ca_certs`, … for Redis, `ca_certs`, … in `broker_use_ssl` for RabbitMQ."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sedano.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    import ssl

_REQUIREMENTS = {"required": "CERT_REQUIRED", "optional": "CERT_OPTIONAL", "none": "CERT_NONE"}

# A child that is forked while another thread imports finds the module locked for ever: a fork waits for the end of an import.
_importing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release)


def new_context(options: Mapping[str, Any], server: str) -> ssl.SSLContext:
    """A client's context. Certificates are required and host names checked unless the options say otherwise.

    Names may carry the `ssl_` of Celery's options for Redis. `server` is the technology, for the error's text. Raises
    `ImproperlyConfigured`.
    """
    with _importing:
        import ssl  # noqa: PLC0415 - slow to import: a connection without TLS must not pay for it

    def given(name: str) -> Any:
        value = options.get("ssl_" + name)
        return options.get(name) if value is None else value

    ready = given("context")
    if isinstance(ready, ssl.SSLContext):
        return ready
    requirement = _requirement(given("cert_reqs"))
    try:
        context = ssl.create_default_context(cafile=given("ca_certs"), capath=given("ca_path"))
        if given("ca_data"):
            context.load_verify_locations(cadata=given("ca_data"))
        checks_names = given("check_hostname")
        context.check_hostname = requirement is ssl.CERT_REQUIRED if checks_names is None else _is_true(checks_names)
        context.verify_mode = requirement
        _set_version(context, given("version"))
        if given("certfile") or given("keyfile"):
            context.load_cert_chain(given("certfile"), given("keyfile"), given("password"))
        if given("ciphers"):
            context.set_ciphers(given("ciphers"))
    except (OSError, ValueError, KeyError, TypeError) as error:  # ssl.SSLError is an OSError
        raise ImproperlyConfigured(f"the ssl_ options for {server} cannot be used: {error}") from error
    return context


def _requirement(value: Any) -> ssl.VerifyMode:
    import ssl  # noqa: PLC0415 - as above

    if value is None:
        return ssl.CERT_REQUIRED
    if isinstance(value, str) and not value.isdecimal():
        found = _REQUIREMENTS.get(value.lower().removeprefix("cert_"))
        if found is None:
            raise ImproperlyConfigured(f"ssl_cert_reqs={value!r}: use CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE")
        return ssl.VerifyMode[found]
    return ssl.VerifyMode(int(value))


def _set_version(context: ssl.SSLContext, value: Any) -> None:
    """`PROTOCOL_TLSv1_2` and the like, which Python has deprecated: the one version that is spoken."""
    import ssl  # noqa: PLC0415 - as above

    if value is None or value in (ssl.PROTOCOL_TLS, ssl.PROTOCOL_TLS_CLIENT):
        return
    names = {int(getattr(ssl, name)): name for name in dir(ssl) if name.startswith("PROTOCOL_")}
    name = value if isinstance(value, str) else names[int(value)]
    name = name.upper().removeprefix("PROTOCOL_")
    if name not in ("TLS", "TLS_CLIENT", "SSLV23"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion[name.replace("TLSV", "TLSv")]


def _is_true(value: Any) -> bool:
    return value.lower() in ("1", "true", "yes", "on") if isinstance(value, str) else bool(value)

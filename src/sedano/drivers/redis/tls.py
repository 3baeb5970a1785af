"""TLS contexts from Celery's `ssl_` options."""

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


def new_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """A client's context. Certificates are required and host names checked unless the options say otherwise."""
    with _importing:
        import ssl  # noqa: PLC0415 - slow to import: a connection without TLS must not pay for it

    requirement = _requirement(options.get("ssl_cert_reqs"))
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path"))
        if options.get("ssl_ca_data"):
            context.load_verify_locations(cadata=options["ssl_ca_data"])
        checks_names = options.get("ssl_check_hostname")
        context.check_hostname = requirement is ssl.CERT_REQUIRED if checks_names is None else _is_true(checks_names)
        context.verify_mode = requirement
        if options.get("ssl_certfile") or options.get("ssl_keyfile"):
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password"))
        if options.get("ssl_ciphers"):
            context.set_ciphers(options["ssl_ciphers"])
    except (OSError, ValueError, KeyError) as error:  # ssl.SSLError is an OSError
        raise ImproperlyConfigured(f"the ssl_ options for Redis cannot be used: {error}") from error
    return context


def _requirement(value: Any) -> ssl.VerifyMode:
    import ssl  # noqa: PLC0415 - as above

    if value is None:
        return ssl.CERT_REQUIRED
    if isinstance(value, str):
        found = _REQUIREMENTS.get(value.lower().removeprefix("cert_"))
        if found is None:
            raise ImproperlyConfigured(f"ssl_cert_reqs={value!r}: use CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE")
        return ssl.VerifyMode[found]
    return ssl.VerifyMode(value)


def _is_true(value: Any) -> bool:
    return value.lower() in ("1", "true", "yes", "on") if isinstance(value, str) else bool(value)

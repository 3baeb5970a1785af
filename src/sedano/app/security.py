"""`app.setup_security()`: from keys and certificates in files to the serializer `auth`. Needs the extra `auth`.

The modules `celery.security…` of the alias are this one.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable
from typing import Any

from sedano.app import late
from sedano.clock import SYSTEM_CLOCK
from sedano.exceptions import ImproperlyConfigured, SecurityError
from sedano.protocol.serializers import accept_types, register

try:
    from sedano.protocol.serializers.auth import CONTENT_TYPE, Certificate, CertStore, PrivateKey, SecureSerializer
except ImportError as exc:
    raise ImproperlyConfigured("signed messages need the package cryptography: pip install 'sedano[auth]'") from exc

__all__ = ["CertStore", "Certificate", "FSCertStore", "PrivateKey", "SecureSerializer", "register_auth", "setup_security"]


class FSCertStore(CertStore):
    """The certificates of a folder, or of the files that a pattern matches.

    Raises SecurityError for a file that is no certificate, and for one that has expired: take it out of the store.
    """

    def __init__(self, path: str, now: Callable[[], float] = SYSTEM_CLOCK.wall) -> None:
        super().__init__()
        for name in sorted(glob.glob(os.path.join(path, "*") if os.path.isdir(path) else path)):
            try:
                certificate = Certificate(_read(name, "security_cert_store"), now)
                if certificate.has_expired():
                    raise SecurityError(f"Expired certificate: {certificate.get_id()!r}")
                self.add_cert(certificate)
            except SecurityError as exc:
                raise SecurityError(f"{name} of security_cert_store: {exc}") from exc


def setup_security(
    allowed_serializers: Iterable[str] | None = None,
    key: str | None = None,
    key_password: str | bytes | None = None,
    cert: str | None = None,
    store: str | None = None,
    digest: str | None = None,
    serializer: str = "json",
    app: Any = None,
) -> None:
    """Register the serializer `auth` for this process; what is not given is taken from the app's settings.

    `serializer` writes what is signed; of the signed messages of others, those in it, in json or in one of
    `allowed_serializers` are read. Raises ImproperlyConfigured when the app does not sign and demand signatures, or lacks a
    file; SecurityError for a key or certificate that cannot be used.
    """
    app = late.current_app() if app is None else app
    conf = app.conf
    if conf.task_serializer != "auth" or accept_types(conf.typed("accept_content")) != frozenset({CONTENT_TYPE}):
        raise ImproperlyConfigured(
            f"setup_security(): set task_serializer='auth' and accept_content=['auth'] (they are {conf.task_serializer!r} and "
            f"{list(conf.typed('accept_content'))!r}). Signing is of no use while unsigned messages are accepted too."
        )
    files = {
        "security_key": key or conf.security_key,
        "security_certificate": cert or conf.security_certificate,
        "security_cert_store": store or conf.security_cert_store,
    }
    missing = [name for name, path in files.items() if not path]
    if missing:
        raise ImproperlyConfigured(
            f"setup_security(): set {', '.join(missing)} to the path of the file (the store: of a folder)"
        )
    key_file, cert_file, store_path = map(os.fspath, files.values())
    register_auth(
        _read(key_file, "security_key"),
        key_password or conf.security_key_password,
        _read(cert_file, "security_certificate"),
        store_path,
        digest or conf.security_digest,
        serializer,
        accept=tuple(allowed_serializers or ()),
    )


def register_auth(
    key: str | None = None,
    key_password: str | bytes | None = None,
    cert: str | None = None,
    store: str | None = None,
    digest: str = "sha256",
    serializer: str = "json",
    accept: Iterable[str] = (),
) -> None:
    """Register `auth` with the PEM texts `key` and `cert` and the certificates at the path `store`."""
    secure = SecureSerializer(
        PrivateKey(key, key_password) if key else None,
        Certificate(cert) if cert else None,
        FSCertStore(store) if store else None,
        digest,
        serializer,
        accept_types(["json", *accept]),
    )
    register("auth", secure.serialize, secure.deserialize, CONTENT_TYPE, "utf-8")


def _read(path: str, setting: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError) as exc:
        raise ImproperlyConfigured(f"{setting}: {path!r} cannot be read: {exc}") from exc

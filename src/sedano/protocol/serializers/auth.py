"""Signed content, as Celery 5.7 writes and reads it (wire-protocol 1.4). Needs the package cryptography (extra `auth`).

On the wire: base64 of five fields joined by the bytes 00 01: base64(signer id), base64(signature), inner content type, inner
encoding, inner body. RSA-PSS with MGF1 and the longest salt over the inner body; the signer's id is its certificate's issuer
and serial number. Nothing else is signed: not the inner content type, not the headers with the task's name and id. So whoever
can write to the broker can send a signed body again, also as the arguments of another task.

Because the inner content type is not signed, only the types that `accept` names are decoded: a signed JSON body relabelled as
pickle is refused. (Celery decodes any.)
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import load_pem_x509_certificate

from sedano.clock import SYSTEM_CLOCK
from sedano.exceptions import ContentDisallowed, EncodeError, ImproperlyConfigured, SecurityError
from sedano.protocol.serializers.registry import dumps, loads, name_of

CONTENT_TYPE = "application/data"
_SEPARATOR = b"\x00\x01"


class Certificate:
    """An X.509 certificate with an RSA key, of PEM text. `now` gives wall seconds. Raises SecurityError for any other text."""

    def __init__(self, cert: str | bytes, now: Callable[[], float] = SYSTEM_CLOCK.wall) -> None:
        try:
            self._cert = load_pem_x509_certificate(_bytes(cert))
            key = self._cert.public_key()
        except (ValueError, UnsupportedAlgorithm) as exc:
            raise SecurityError(f"Invalid certificate: {exc}") from exc
        if not isinstance(key, rsa.RSAPublicKey):
            raise SecurityError(f"Invalid certificate: {self.get_id()!r} holds no RSA key; other kinds are not supported")
        self._key = key
        self._now = now

    def has_expired(self) -> bool:
        return datetime.fromtimestamp(self._now(), UTC) >= self._cert.not_valid_after_utc

    def get_pubkey(self) -> rsa.RSAPublicKey:
        return self._key

    def get_serial_number(self) -> int:
        return self._cert.serial_number

    def get_issuer(self) -> str:
        return " ".join(str(part.value) for part in self._cert.issuer)

    def get_id(self) -> str:
        """What a signature names its signer by: issuer, space, serial number."""
        return f"{self.get_issuer()} {self.get_serial_number()}"

    def verify(self, data: bytes, signature: bytes, digest: hashes.HashAlgorithm) -> None:
        """Raises SecurityError when the certificate has expired, or did not sign `data`."""
        if self.has_expired():
            raise SecurityError(f"Expired certificate: {self.get_id()!r} was valid until {self._cert.not_valid_after_utc}")
        try:
            self._key.verify(signature, data, _padding(digest), digest)
        except InvalidSignature as exc:
            raise SecurityError(f"Bad signature: the content was changed after {self.get_id()!r} signed it") from exc


class CertStore:
    """Trusted certificates by id."""

    def __init__(self, certificates: Iterable[Certificate] = ()) -> None:
        self._certs: dict[str, Certificate] = {}
        for certificate in certificates:
            self.add_cert(certificate)

    def itercerts(self) -> Iterator[Certificate]:
        yield from self._certs.values()

    def __getitem__(self, id: str | bytes) -> Certificate:  # noqa: A002 - Celery's name
        found = self._certs.get(id if isinstance(id, str) else id.decode("utf-8", "replace"))
        if found is None:
            raise SecurityError(f"Unknown certificate: {id!r} is not in security_cert_store")
        return found

    def add_cert(self, cert: Certificate) -> None:
        """Raises SecurityError for a second one with the same issuer and serial number."""
        if cert.get_id() in self._certs:
            raise SecurityError(f"Duplicate certificate: {cert.get_id()!r}")
        self._certs[cert.get_id()] = cert


class PrivateKey:
    """An RSA key of PEM text. Raises SecurityError for any other text, or a wrong password."""

    def __init__(self, key: str | bytes, password: str | bytes | None = None) -> None:
        try:
            found = serialization.load_pem_private_key(_bytes(key), None if password is None else _bytes(password))
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:  # TypeError: a password too many, or missing
            raise SecurityError(f"Invalid private key: {exc}") from exc
        if not isinstance(found, rsa.RSAPrivateKey):
            raise SecurityError("Invalid private key: it is no RSA key; other kinds are not supported")
        self._key = found

    def sign(self, data: bytes, digest: hashes.HashAlgorithm) -> bytes:
        return self._key.sign(data, _padding(digest), digest)


class SecureSerializer:
    """Writes and reads signed content. One without key and certificate only reads, one without store only writes.

    `accept` are the inner serializers that are read, by name or type, besides `serializer`.
    """

    def __init__(
        self,
        key: PrivateKey | None = None,
        cert: Certificate | None = None,
        cert_store: CertStore | None = None,
        digest: str = "sha256",
        serializer: str = "json",
        accept: Collection[str] = ("json",),
    ) -> None:
        self._key, self._cert, self._store = key, cert, cert_store
        self._digest = digest_named(digest)
        self._serializer = serializer
        self._accept = frozenset({serializer, *accept})

    def serialize(self, data: Any) -> str:
        """Raises EncodeError."""
        if self._key is None or self._cert is None:
            raise EncodeError("messages cannot be signed without a security_key and its security_certificate")
        content_type, content_encoding, body = dumps(data, self._serializer)
        signature = self._key.sign(body, self._digest)
        signer = self._cert.get_id().encode()
        fields = (b64encode(signer), b64encode(signature), content_type.encode(), content_encoding.encode(), body)
        return b64encode(_SEPARATOR.join(fields)).decode("ascii")

    def deserialize(self, data: bytes | str) -> Any:
        """Raises ContentDisallowed before anything of the body is decoded: unknown signer, expired certificate, wrong
        signature, no signed content at all. Raises DecodeError for a body that is trusted and cannot be read."""
        if self._store is None:
            raise ContentDisallowed("signed messages cannot be read without a security_cert_store")
        try:
            fields = b64decode(_bytes(data)).split(_SEPARATOR, maxsplit=4)
            if len(fields) != 5:
                raise ValueError(f"{len(fields)} fields instead of five")
            signer, signature = b64decode(fields[0]).decode(), b64decode(fields[1])
            content_type, content_encoding, body = fields[2].decode(), fields[3].decode(), fields[4]
        except (binascii.Error, ValueError) as exc:
            raise ContentDisallowed(
                f"this is no signed content, and only such is trusted here (serializer 'auth'): {exc}"
            ) from exc
        try:
            self._store[signer].verify(body, signature, self._digest)
        except SecurityError as exc:
            raise ContentDisallowed(str(exc)) from exc
        name = name_of(content_type)
        if content_type not in self._accept and name not in self._accept:
            raise ContentDisallowed(
                f"{signer!r} signed content of type {name} ({content_type}), which is not accepted inside of signed messages. "
                f"If it is trusted: app.setup_security(allowed_serializers=[{name!r}])"
            )
        return loads(body, content_type, content_encoding, self._accept)


_DIGESTS: Mapping[str, Callable[[], hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
    "sha224": hashes.SHA224,
    "sha3_256": hashes.SHA3_256,
    "sha3_384": hashes.SHA3_384,
    "sha3_512": hashes.SHA3_512,
    "sha1": hashes.SHA1,  # broken; Celery takes it too
}


def digest_named(name: str) -> hashes.HashAlgorithm:
    """Raises ImproperlyConfigured for an unknown name."""
    make = _DIGESTS.get(name.lower())
    if make is None:
        raise ImproperlyConfigured(f"security_digest={name!r}: use one of {', '.join(_DIGESTS)}")
    return make()


def _padding(digest: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(digest), salt_length=padding.PSS.MAX_LENGTH)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text

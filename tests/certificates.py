"""Keys and certificates for tests of signed messages, made when they are asked for."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Identity:
    """A key and its self-signed certificate, as PEM text."""

    key: str
    cert: str

    def save(self, folder: Path, name: str) -> tuple[Path, Path]:
        """(key file, certificate file) in `folder`, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        key, cert = folder / f"{name}.key", folder / f"{name}.pem"
        key.write_text(self.key)
        cert.write_text(self.cert)
        return key, cert


def identity(
    name: str, *, serial: int = 4242, days: float = 10, password: bytes | None = None, elliptic: bool = False
) -> Identity:
    """Valid from a year ago until `days` from now. `elliptic`: a kind of key that is not supported."""
    key = ec.generate_private_key(ec.SECP256R1()) if elliptic else rsa.generate_private_key(65537, 2048)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(issuer)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - datetime.timedelta(days=365))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    lock = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    pem = serialization.Encoding.PEM
    return Identity(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, lock).decode(), certificate.public_bytes(pem).decode()
    )

from __future__ import annotations

import base64
import functools
import time
from typing import Any

import pytest
from tests.certificates import Identity, identity

from sedano.exceptions import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured, SecurityError
from sedano.protocol.serializers.auth import Certificate, CertStore, PrivateKey, SecureSerializer

YEAR_S = 365 * 86400.0
SEPARATOR = b"\x00\x01"
VALUE = [[2, 3], {"a": "é"}, None]


@functools.cache
def known(name: str) -> Identity:
    """Made once: a key costs a good part of a second."""
    return identity(name)


def secure(name: str, *trusted: str, now: Any = time.time, **options: Any) -> SecureSerializer:
    """The serializer of `name`, who trusts `trusted` (himself alone when nobody is named)."""
    own = known(name)
    store = CertStore([Certificate(known(one).cert, now) for one in trusted or (name,)])
    return SecureSerializer(PrivateKey(own.key), Certificate(own.cert), store, **options)


def fields(signed: str) -> list[bytes]:
    return base64.b64decode(signed).split(SEPARATOR, maxsplit=4)


def joined(parts: list[bytes]) -> bytes:
    return base64.b64encode(SEPARATOR.join(parts))


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
@pytest.mark.parametrize("digest", ["sha256", "SHA512"])
def test_given_a_trusted_signer_when_read_then_the_value_comes_back(serializer: str, digest: str) -> None:
    signed = secure("alice", serializer=serializer, digest=digest).serialize(VALUE)

    assert secure("bob", "alice", "bob", serializer=serializer, digest=digest).deserialize(signed.encode()) == VALUE


def test_given_a_signer_when_written_then_the_fields_are_celerys() -> None:
    signer, signature, content_type, encoding, body = fields(secure("alice").serialize([b"\x00\x01"]))

    assert base64.b64decode(signer) == b"alice 4242"
    assert len(base64.b64decode(signature)) == 256
    assert (content_type, encoding) == (b"application/json", b"utf-8")
    assert b'"base64"' in body or b'"bytes"' in body


def test_given_a_body_that_holds_the_separator_when_read_then_it_is_not_cut() -> None:
    both = secure("alice", serializer="msgpack")
    assert both.deserialize(both.serialize([SEPARATOR * 3])) == [SEPARATOR * 3]


@pytest.mark.parametrize("place", [1, 4])
def test_given_a_body_or_signature_that_was_changed_when_read_then_it_is_refused(place: int) -> None:
    parts = fields(secure("alice").serialize([[100], {}, None]))
    parts[place] = parts[place].replace(b"100", b"900") if place == 4 else base64.b64encode(b"x" * 256)

    with pytest.raises(ContentDisallowed, match="Bad signature: the content was changed after 'alice 4242' signed it"):
        secure("alice").deserialize(joined(parts))


def test_given_a_signer_who_is_not_in_the_store_when_read_then_it_is_refused() -> None:
    with pytest.raises(ContentDisallowed, match="Unknown certificate: 'mallory 4242' is not in security_cert_store"):
        secure("bob", "alice").deserialize(secure("mallory").serialize(VALUE))


def test_given_somebody_who_borrows_a_trusted_name_when_read_then_it_is_refused() -> None:
    parts = fields(secure("mallory").serialize(VALUE))
    parts[0] = base64.b64encode(b"alice 4242")

    with pytest.raises(ContentDisallowed, match="Bad signature"):
        secure("bob", "alice").deserialize(joined(parts))


def test_given_a_certificate_that_expires_while_we_run_when_read_then_it_is_refused_from_then_on() -> None:
    signed = secure("alice").serialize(VALUE)
    now = time.time()
    reader = secure("bob", "alice", now=lambda: now)
    assert reader.deserialize(signed) == VALUE

    now += YEAR_S

    with pytest.raises(ContentDisallowed, match="Expired certificate: 'alice 4242' was valid until"):
        reader.deserialize(signed)


@pytest.mark.parametrize("data", [b"", b"[[2, 3], {}, {}]", b"\xff", base64.b64encode(b"a\x00\x01b"), b"a\x00\x01" * 4])
def test_given_what_is_not_signed_when_read_then_it_is_refused(data: bytes) -> None:
    with pytest.raises(ContentDisallowed, match="this is no signed content"):
        secure("alice").deserialize(data)


def test_given_a_signed_body_that_was_relabelled_as_pickle_when_read_then_it_is_refused() -> None:
    """The content type is not signed: what was signed as text must not be run as a program."""
    parts = fields(secure("alice").serialize(VALUE))
    parts[2] = b"application/x-python-serialize"

    with pytest.raises(ContentDisallowed, match="pickle"):
        secure("alice").deserialize(joined(parts))
    with pytest.raises(DecodeError, match="pickle"):
        secure("alice", accept=("json", "pickle")).deserialize(joined(parts))


def test_given_no_key_or_no_store_when_used_then_the_error_says_what_is_missing() -> None:
    with pytest.raises(EncodeError, match="without a security_key"):
        SecureSerializer(cert_store=CertStore()).serialize(VALUE)
    with pytest.raises(ContentDisallowed, match="without a security_cert_store"):
        SecureSerializer().deserialize(b"")


def test_given_a_value_that_cannot_be_written_when_signed_then_it_is_an_encode_error() -> None:
    with pytest.raises(EncodeError, match="as JSON"):
        secure("alice").serialize([object()])


@pytest.mark.parametrize("text", ["", "no pem", "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"])
def test_given_text_that_is_no_certificate_or_key_when_read_then_it_is_refused(text: str) -> None:
    with pytest.raises(SecurityError, match="Invalid certificate"):
        Certificate(text)
    with pytest.raises(SecurityError, match="Invalid private key"):
        PrivateKey(text)


def test_given_a_key_of_another_kind_when_read_then_it_is_refused() -> None:
    other = identity("carol", elliptic=True)
    with pytest.raises(SecurityError, match="'carol 4242' holds no RSA key"):
        Certificate(other.cert)
    with pytest.raises(SecurityError, match="no RSA key"):
        PrivateKey(other.key)


def test_given_a_key_with_a_password_when_read_then_it_must_be_the_right_one() -> None:
    locked = identity("dave", password=b"open sesame")
    PrivateKey(locked.key, b"open sesame")
    PrivateKey(locked.key, "open sesame")
    for wrong in (b"other", None):
        with pytest.raises(SecurityError, match="Invalid private key") as caught:
            PrivateKey(locked.key, wrong)
        assert "other" not in str(caught.value)


def test_given_two_certificates_of_one_name_and_number_when_stored_then_it_is_refused() -> None:
    one = Certificate(known("alice").cert)
    with pytest.raises(SecurityError, match="Duplicate certificate: 'alice 4242'"):
        CertStore([one, one])
    assert list(CertStore([one]).itercerts()) == [one]
    assert CertStore([one])[b"alice 4242"].get_serial_number() == 4242


def test_given_an_unknown_digest_when_made_then_the_known_ones_are_listed() -> None:
    with pytest.raises(ImproperlyConfigured, match="security_digest='md4': use one of sha256"):
        SecureSerializer(digest="md4")

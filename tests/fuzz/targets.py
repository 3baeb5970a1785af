"""One function for each decoder. It takes any bytes and raises only where a decoder broke its promise."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fuzz import nodes

from sedano.drivers.redis.wire import NOTHING, BadProtocol, PureReader
from sedano.exceptions import EncodeError, SecurityError, UnreadableMessage
from sedano.protocol import call, compression, control, envelope, results, serializers
from sedano.protocol.message import Message
from sedano.protocol.saferepr import saferepr

ACCEPT = serializers.accept_types(["json", "yaml", "msgpack"])
SERIALIZERS = ("json", "msgpack", "yaml")
METHODS = ("gzip", "bzip2", "lzma", "zstd", "brotli")
COMPRESSIONS = ("", *METHODS)
NODE = "celery@" + "a" * 30
SHOWN = 1024


def refused(read: Callable[[], Any], *clear: type[Exception]) -> Any:
    """What `read` returns, None when it refuses in words; every other error passes."""
    try:
        return read()
    except (UnreadableMessage, SecurityError, *clear) as exc:
        words = str(exc)
    assert words, "a refusal without a word"
    assert len(words) < 10_000, "a refusal that nobody can read"
    return None


def look(value: Any) -> None:
    """What logs and replies do with every value that was read."""
    assert len(saferepr(value, SHOWN)) <= 2 * SHOWN


def read_envelope(data: bytes) -> None:
    message = refused(lambda: envelope.decode(data))
    if message is not None:
        plain = refused(lambda: envelope.plain_decode(data))  # it looks at the names of parts that nobody needs, too
        assert plain is None or repr(message) == repr(plain), "the two roads disagree"  # NaN is not equal to itself
        read_message(message)


def read_message(message: Message) -> None:
    """All that is asked of a message from its arrival on."""
    asked = refused(lambda: call.read(message, accept=ACCEPT))
    if asked is not None:
        look(asked.headers)
        nodes.tell(asked)
        for text in (asked.id, asked.task, asked.root_id, asked.parent_id, asked.group):
            assert text is None or text.encode("utf-8") is not None
    body = refused(lambda: call.read_body(message, ACCEPT))
    if body is not None:
        look(body.args)
        look(body.kwargs)
    assert 0 <= envelope.deliveries_of(message) < 2**63
    envelope.parked_until(message)
    envelope.is_redelivered(message)
    with contextlib.suppress(EncodeError):
        again = envelope.decode(envelope.encode(envelope.redelivered(message, envelope.deliveries_of(message) + 1)))
        assert envelope.deliveries_of(again) == min(envelope.deliveries_of(message) + 1, 2**31)


def read_headers(data: bytes) -> None:
    """Headers of protocol 2, or a body of protocol 1, as JSON."""
    headers = refused(lambda: serializers.loads(data, "application/json", "utf-8"))
    if isinstance(headers, dict):
        read_message(Message(b"[[], {}, {}]", "application/json", "utf-8", headers, {"body_encoding": "base64"}))
    read_message(Message(data, "application/json", "utf-8", {}, {}))


def read_body(data: bytes) -> None:
    """The first byte chooses serializer and compression."""
    if not data:
        return
    name = SERIALIZERS[data[0] % len(SERIALIZERS)]
    method = COMPRESSIONS[data[0] // 16 % len(COMPRESSIONS)]
    headers: dict[str, Any] = {"task": "t", "id": "i", **({"compression": method} if method else {})}
    content_type = serializers.known_type(name)
    assert content_type
    read_message(Message(data[1:], content_type, "utf-8", headers, {}))


def read_record(data: bytes) -> None:
    """A result record, a chord's part. The first byte chooses the serializer."""
    if not data:
        return
    name = SERIALIZERS[data[0] % len(SERIALIZERS)]
    for serializer in {"json", name}:
        meta = refused(lambda serializer=serializer: results.decode_meta(data[1:], serializer))
        if meta is not None:
            look(meta)
        part = refused(lambda serializer=serializer: results.read_chord_part(data[1:], serializer))
        if part is not None:
            look(part)
    results.says_otherwise(data)
    results.outlasts(data, data)


def read_control(data: bytes) -> None:
    """A command to nodes, and an answer."""
    message = refused(lambda: envelope.decode(data)) or Message(data, "application/json", "utf-8", {"clock": 5}, {})
    asked = refused(lambda: control.read_request(message, ACCEPT))
    if asked is not None:
        asked.concerns(NODE)
        assert 0 <= asked.clock < 2**63
        look(asked.arguments)
        if asked.reply_to is not None:
            control.reply(NODE, {"ok": "pong"}, asked, clock=asked.clock + 1)
    answer = refused(lambda: control.read_reply(message, ACCEPT))
    if answer is not None:
        look(answer.values)


def read_compressed(data: bytes) -> None:
    for method in METHODS:
        refused(lambda method=method: compression.decompress(data, method))


def read_signed(data: bytes) -> None:
    refused(lambda: signer().deserialize(data))


@functools.cache
def signer() -> Any:
    """A serializer of signed messages, with a key of its own."""
    from cryptography import x509  # noqa: PLC0415 - only this target needs it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    from sedano.protocol.serializers import auth  # noqa: PLC0415

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fuzz")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1000))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate = auth.Certificate(made.public_bytes(pem))
    return auth.SecureSerializer(auth.PrivateKey(private), certificate, auth.CertStore([certificate]))


def read_reply(data: bytes) -> None:
    """What a server sends that says it is Redis, through the reader that is used where hiredis is missing."""
    reader = PureReader()
    reader.feed(data)
    for _ in range(len(data) + 1):
        if refused(reader.gets, BadProtocol) in (NOTHING, None):
            return


TARGETS: dict[str, Callable[[bytes], None]] = {
    "envelope": read_envelope,
    "headers": read_headers,
    "body": read_body,
    "record": read_record,
    "control": read_control,
    "compressed": read_compressed,
    "signed": read_signed,
    "redis-reply": read_reply,
    "commands": nodes.obey,
    "events": nodes.hear,
    "statedb": nodes.adopt,
    "http": nodes.request,
}

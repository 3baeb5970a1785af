"""`kombu.serialization`, `.compression`, `.utils.json` and `celery.security` while `import celery` means Sedano."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAMS = {
    "a serializer": """
        from kombu.serialization import register, registry
        from kombu import serialization
        register("words", " ".join, lambda data: data.decode().split(), "text/x-words")
        from sedano.protocol import serializers
        assert serializers.dumps(["a", "b"], "words") == ("text/x-words", "utf-8", b"a b")
        assert registry.loads(b"a b", "text/x-words", "utf-8") == ["a", "b"]
        assert serialization.dumps("plain")[0] == "text/plain"
        registry.unregister("words")
        try:
            registry.dumps(["a"], "words")
        except serialization_error:
            pass
        else:
            raise AssertionError("still there")
    """,
    "insecure serializers": """
        import kombu
        from kombu.serialization import loads, dumps, registry
        data = dumps({"a": 1}, "pickle")
        def refused():
            try:
                loads(data[2], *data[:2])
            except disallowed:
                return True
        assert refused()
        kombu.enable_insecure_serializers(["pickle"])
        assert loads(data[2], *data[:2]) == {"a": 1}
        kombu.disable_insecure_serializers()
        assert refused()
        registry.enable("application/x-python-serialize")
        assert not refused()
        registry.disable("pickle")
        assert refused()
        assert loads(data[2], *data[:2], force=True) == {"a": 1}
        assert loads(data[2], *data[:2], accept=["pickle"]) == {"a": 1}
    """,
    "a compression": """
        from kombu import compression
        compression.register(lambda d: d[::-1], lambda d: d[::-1], "x/mirror", aliases=["mirror"])
        assert compression.compress("ab", "mirror") == (b"ba", "x/mirror")
        assert compression.decompress(b"ba", "x/mirror") == b"ab"
        assert "x/mirror" in compression.encoders() and "application/x-gzip" in compression.encoders()
        encode, content_type = compression.get_encoder("gzip")
        assert content_type == "application/x-gzip"
        assert compression.get_decoder("zlib")(encode(b"ab")) == b"ab"
    """,
    "a type in json": """
        from kombu.utils.json import register_type, dumps, loads
        class Coin: pass
        register_type(Coin, "coin", lambda coin: 5, lambda value: ("coin", value))
        assert loads(dumps([Coin()])) == loads(dumps([Coin()]).encode()) == [("coin", 5)]
    """,
    "security": """
        from celery.security import setup_security
        from celery.security.certificate import Certificate, CertStore, FSCertStore
        from celery.security.key import PrivateKey
        from celery.security.serialization import SecureSerializer, register_auth
        assert setup_security.__module__ == "sedano.app.security"
    """,
}
BEFORE = """
import sedano.as_celery
from sedano.exceptions import ContentDisallowed as disallowed, EncodeError as serialization_error
"""


@pytest.mark.parametrize("what", PROGRAMS)
def test_given_the_alias_when_code_uses_kombus_or_celerys_names_then_they_are_ours(what: str) -> None:
    body = "\n".join(line.removeprefix(" " * 8) for line in PROGRAMS[what].splitlines())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEDANO")}
    done = subprocess.run([sys.executable, "-c", BEFORE + body], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

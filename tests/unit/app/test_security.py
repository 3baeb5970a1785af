from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import identity

from sedano import Celery
from sedano.exceptions import ContentDisallowed, ImproperlyConfigured, SecurityError
from sedano.protocol import serializers
from sedano.protocol.serializers import registry


@pytest.fixture(autouse=True)
def unregistered() -> Iterator[None]:
    """`auth` belongs to the process: it ends with the test."""
    yield
    if "auth" in registry._by_name:
        serializers.unregister("auth")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("security")
    identity("alice", password=b"sesame").save(folder, "alice")
    (folder / "store").mkdir()
    (folder / "store" / "alice.pem").write_text((folder / "alice.pem").read_text())
    return folder


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "task_serializer": "auth",
        "accept_content": ["auth"],
        "security_key": str(folder / "alice.key"),
        "security_key_password": b"sesame",
        "security_certificate": str(folder / "alice.pem"),
        "security_cert_store": str(folder / "store"),
        **changes,
    }


def make(folder: Path, **changes: Any) -> Celery:
    return Celery("signed", broker="memory://", backend="cache+memory://", changes=settings(folder, **changes))


@pytest.mark.setting("security_key", "security_key_password", "security_certificate", "security_cert_store", "security_digest")
@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_given_the_settings_when_set_up_then_what_is_written_is_signed_with_them(folder: Path, digest: str) -> None:
    make(folder, security_digest=digest).setup_security()

    content_type, encoding, data = serializers.dumps([1], "auth")

    assert (content_type, encoding) == ("application/data", "utf-8")
    assert serializers.loads(data, content_type, encoding, ["application/data"]) == [1]
    make(folder, security_digest="sha384").setup_security()
    with pytest.raises(SecurityError, match="Bad signature"):
        serializers.loads(data, content_type, encoding, ["application/data"])


def test_given_arguments_when_set_up_then_they_win_over_the_settings(folder: Path) -> None:
    app = make(folder, security_key="/nowhere", security_certificate=None, security_cert_store=None, security_key_password=None)

    app.setup_security(
        key=str(folder / "alice.key"),
        key_password="sesame",
        cert=str(folder / "alice.pem"),
        store=str(folder / "store" / "*.pem"),
        serializer="msgpack",
    )

    data = serializers.dumps([b"\xff"], "auth")[2]
    assert serializers.loads(data, "application/data", "utf-8", ["auth"]) == [b"\xff"]


def test_given_another_inner_serializer_when_not_allowed_then_it_is_refused(folder: Path) -> None:
    make(folder).setup_security(serializer="msgpack")
    data = serializers.dumps([1], "auth")[2]
    make(folder).setup_security()
    with pytest.raises(ContentDisallowed, match=r"'alice 4242' signed .*allowed_serializers=.'msgpack'"):
        serializers.loads(data, "application/data", "utf-8", ["auth"])
    make(folder).setup_security(allowed_serializers=["msgpack"])
    assert serializers.loads(data, "application/data", "utf-8", ["auth"]) == [1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task_serializer": "json"}, r"set task_serializer='auth' and accept_content=\['auth'\] .they are 'json'"),
        ({"accept_content": ["auth", "json"]}, "of no use while unsigned messages are accepted"),
        ({"security_key": None, "security_cert_store": None}, "set security_key, security_cert_store to the path"),
        ({"security_key": "/no/such/file"}, "security_key: '/no/such/file' cannot be read"),
        ({"security_digest": "md4"}, "security_digest='md4': use one of"),
    ],
)
def test_given_settings_that_cannot_work_when_set_up_then_the_error_says_which(
    folder: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=reason):
        make(folder, **changes).setup_security()
    assert "auth" not in registry._by_name


def test_given_an_expired_certificate_in_the_store_when_set_up_then_the_file_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "old.pem").write_text(identity("old", days=-1).cert)
    with pytest.raises(SecurityError, match=r"old\.pem of security_cert_store: Expired certificate: 'old 4242'"):
        make(folder, security_cert_store=str(tmp_path)).setup_security()
    (tmp_path / "old.pem").write_text("no certificate")
    with pytest.raises(SecurityError, match=r"old\.pem of security_cert_store: Invalid certificate"):
        make(folder, security_cert_store=str(tmp_path)).setup_security()


def test_given_no_cryptography_when_set_up_then_the_error_names_the_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for name in ("sedano.app.security", "sedano.protocol.serializers.auth"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'sedano\[auth\]'"):
        make(folder).setup_security()


def test_given_no_setup_when_something_is_sent_signed_then_the_error_says_what_to_call(folder: Path) -> None:
    app = make(folder)

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    with pytest.raises(Exception, match=r"call app\.setup_security\(\)"):
        add.delay(1, 2)


def test_given_signed_calls_when_sent_eagerly_then_they_take_the_way_through_the_signature(folder: Path) -> None:
    app = make(folder, task_always_eager=True, result_serializer="auth")
    app.setup_security()

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    assert add.delay(1, 2).get() == 3

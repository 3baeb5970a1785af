"""TLS on a server of its own: who may trust whom, and a client that its certificate logs in."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.rabbit import RabbitServer, free_port
from tests.servers import is_left_out

from sedano.contracts import OpenOptions
from sedano.drivers.rabbitmq.address import address_of
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.errors import AccessRefused
from sedano.drivers.rabbitmq.properties import encode_properties
from sedano.exceptions import BrokerUnavailable, ImproperlyConfigured

pytestmark = pytest.mark.rabbitmq


@dataclass(frozen=True)
class Certificates:
    """An authority, a server's certificate for localhost, and a client's whose name is guest; files without their ending."""

    folder: Path

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def make(self, name: str, subject: str, *extensions: str) -> None:
        """A certificate of the authority, which comes first and signs itself."""
        signed_by = [] if name == "ca" else ["-CA", self.file("ca.pem"), "-CAkey", self.file("ca.key")]
        more = [word for extension in extensions for word in ("-addext", extension)]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject, *signed_by, *more,
             "-keyout", self.file(f"{name}.key"), "-out", self.file(f"{name}.pem")],
            check=True, capture_output=True,
        )  # fmt: skip

    @property
    def client(self) -> dict[str, str]:
        """What `broker_use_ssl` says with the client's certificate."""
        return {
            "ca_certs": self.file("ca.pem"),
            "certfile": self.file("client.pem"),
            "keyfile": self.file("client.key"),
        }


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    made = Certificates(tmp_path_factory.mktemp("tls"))
    made.make("ca", "/CN=authority")
    made.make("server", "/CN=server", "subjectAltName=DNS:localhost", "basicConstraints=CA:FALSE")
    made.make("client", "/CN=guest", "basicConstraints=CA:FALSE")
    return made


@pytest.fixture(scope="module")
def tls_port(certificates: Certificates) -> Iterator[int]:
    if is_left_out("rabbitmq"):
        pytest.skip("SEDANO_WITHOUT names rabbitmq")
    port = free_port()
    server = RabbitServer(
        f"listeners.ssl.1 = 127.0.0.1:{port}",
        f"ssl_options.cacertfile = {certificates.file('ca.pem')}",
        f"ssl_options.certfile = {certificates.file('server.pem')}",
        f"ssl_options.keyfile = {certificates.file('server.key')}",
        "ssl_options.verify = verify_peer",
        "ssl_options.fail_if_no_peer_cert = true",
        "auth_mechanisms.1 = PLAIN",
        "auth_mechanisms.2 = EXTERNAL",
        "ssl_cert_login_from = common_name",
    )
    (server.folder / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_auth_mechanism_ssl].\n")
    with server:
        yield port


def connect(url: str, options: OpenOptions) -> Connection:
    connection = Connection(address_of(url, {}, options))
    connection.open()
    return connection


@pytest.mark.parametrize("login", ["PLAIN", "EXTERNAL"])
def test_given_a_client_certificate_then_messages_of_any_size_go_both_ways(
    tls_port: int, certificates: Certificates, login: str
) -> None:
    options = OpenOptions(ssl=certificates.client, login_method=login)
    with contextlib.closing(connect(f"amqps://localhost:{tls_port}//", options)) as connection:
        channel = connection.channel()
        channel.declare_queue("q", durable=False)
        channel.confirm_select()
        body = bytes(range(256)) * 40_000
        for one in (b"", body, b"small"):
            channel.publish("", "q", encode_properties({}), one)
        channel.await_confirms()
        found = [channel.get("q", no_ack=True) for _ in range(3)]
        assert [message and message.body for message in found] == [b"", body, b"small"]
        channel.delete_queue("q")


def test_given_the_options_in_the_url_then_they_are_the_same(tls_port: int, certificates: Certificates) -> None:
    query = "&".join(f"ssl_{name}={value}" for name, value in certificates.client.items())
    url = f"amqps://nobody@localhost:{tls_port}//?{query}&login_method=external"
    with contextlib.closing(connect(url, OpenOptions())) as connection:
        assert connection.channel().is_open


def test_given_no_client_certificate_then_the_server_lets_nobody_in(tls_port: int, certificates: Certificates) -> None:
    options = OpenOptions(ssl={"ca_certs": certificates.file("ca.pem")})
    with pytest.raises(BrokerUnavailable, match="ask for a certificate of ours"):
        connect(f"amqp://localhost:{tls_port}//", options)


@pytest.mark.parametrize("change", [{"ca_certs": None}, {"server_hostname": "elsewhere"}], ids=["authority", "name"])
def test_given_a_server_that_is_not_trusted_then_it_is_said(
    tls_port: int, certificates: Certificates, change: dict[str, str | None]
) -> None:
    options = OpenOptions(ssl={**certificates.client, **change})
    with pytest.raises(BrokerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        connect(f"amqp://localhost:{tls_port}//", options)
    trusting = OpenOptions(ssl={**certificates.client, **change, "cert_reqs": "CERT_NONE"})
    connect(f"amqp://localhost:{tls_port}//", trusting).close()


def test_given_an_address_and_the_name_of_the_certificate_then_the_name_is_checked(
    tls_port: int, certificates: Certificates
) -> None:
    with pytest.raises(BrokerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        connect(f"amqps://127.0.0.1:{tls_port}//", OpenOptions(ssl=certificates.client))
    named = OpenOptions(ssl={**certificates.client, "server_hostname": "localhost"})
    connect(f"amqps://127.0.0.1:{tls_port}//", named).close()


def test_given_no_tls_where_the_port_wants_it_then_it_is_said(tls_port: int) -> None:
    with pytest.raises(BrokerUnavailable, match="AMQP"):
        connect(f"amqp://localhost:{tls_port}//", OpenOptions())


def test_given_a_wrong_password_then_the_certificate_does_not_help(tls_port: int, certificates: Certificates) -> None:
    with pytest.raises(AccessRefused):
        connect(f"amqps://guest:wrong@localhost:{tls_port}//", OpenOptions(ssl=certificates.client))


def test_given_files_that_are_not_there_then_it_is_said_before_anything_is_sent(tls_port: int) -> None:
    with pytest.raises(ImproperlyConfigured, match="RabbitMQ cannot be used"):
        connect(f"amqps://localhost:{tls_port}//", OpenOptions(ssl={"certfile": "/missing.pem"}))

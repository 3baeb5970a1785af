"""What URLs and options of RabbitMQ mean."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from sedano.contracts import OpenOptions
from sedano.drivers.rabbitmq.address import Address, Server, address_of, is_same_server
from sedano.drivers.tls import new_context
from sedano.exceptions import ImproperlyConfigured


def parse(url: str, transport: dict[str, Any] | None = None, **options: Any) -> Address:
    return address_of(url, transport or {}, OpenOptions(**options))


@pytest.mark.parametrize(
    ("url", "vhost"),
    [
        ("amqp://", "/"),
        ("amqp://h", "/"),
        ("amqp://h/", "/"),
        ("amqp://h//", "/"),
        ("amqp://h/%2F", "/"),
        ("amqp://h/%2f", "/"),
        ("amqp://h/a", "a"),
        ("amqp://h//a", "/a"),
        ("amqp://h/a%2Fb", "a/b"),
        ("amqp://h/a/b", "a/b"),
        ("amqp://h/%C3%A4", "ä"),
        ("amqp://h//?heartbeat=5", "/"),
    ],
)
def test_given_a_url_then_the_virtual_host_is_the_one_that_kombu_reads(url: str, vhost: str) -> None:
    assert parse(url).vhost == vhost


def test_given_nothing_but_a_scheme_then_it_is_the_guest_of_this_machine() -> None:
    address = parse("amqp://")
    assert (address.servers, address.user, address.password, address.tls) == (
        (Server("localhost", 5672),),
        "guest",
        "guest",
        None,
    )
    assert (address.heartbeat_s, address.login_method) == (120.0, "")
    assert parse("amqps://").servers == (Server("localhost", 5671),)
    assert parse("amqps://").tls == {}
    assert parse("pyamqp://h:1").servers == (Server("h", 1),)


def test_given_odd_characters_then_they_are_decoded_and_never_shown() -> None:
    address = parse("amqp://us%40er:p%2F%3A%23w@[::1]:5673/v")
    assert (address.user, address.password, address.servers) == ("us@er", "p/:#w", (Server("::1", 5673),))
    assert "p%2F" not in repr(address)
    assert "p/:" not in repr(address)
    assert address.shown in repr(address)


def test_given_several_servers_then_they_come_in_their_order_with_the_account_of_the_first() -> None:
    address = parse("amqp://u:p@one:1/v;amqp://two/w;amqp://three:3")
    assert address.servers == (Server("one", 1), Server("two", 5672), Server("three", 3))
    assert (address.user, address.password, address.vhost) == ("u", "p", "v")


@pytest.mark.parametrize(
    "url",
    [
        "amqp://h:port",
        "amqp://h:70000",
        "http://h",
        "",
        "amqp",
        "amqp://h/#x",
        "amqp://h?heartbeat=x",
        "amqp://h?heartbeat=-1",
        "amqp://h?login_method=MAGIC",
        "amqp://h?ssl_ca_certs=/x",
    ],
)
def test_given_what_is_no_url_of_rabbitmq_then_it_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="RabbitMQ"):
        parse(url)


def test_given_settings_options_and_a_query_then_the_nearer_one_counts() -> None:
    assert parse("amqp://h", heartbeat_s=30.0).heartbeat_s == 30.0
    assert parse("amqp://h", {"heartbeat": 20}, heartbeat_s=30.0).heartbeat_s == 20.0
    assert parse("amqp://h?heartbeat=10", {"heartbeat": 20}).heartbeat_s == 10.0
    assert parse("amqp://h?heartbeat=0", heartbeat_s=30.0).heartbeat_s == 0.0
    assert parse("amqp://h", login_method="external").login_method == "EXTERNAL"
    assert parse("amqp://h?login_method=AMQPLAIN", login_method="PLAIN").login_method == "AMQPLAIN"
    assert parse("amqp://h?frame_max=8192", {"channel_max": 7}).frame_max_bytes == 8192
    assert parse("amqp://h", {"channel_max": 7}).channel_max == 7


def test_given_broker_use_ssl_then_tls_is_spoken_with_its_options() -> None:
    assert parse("amqp://h", ssl=True).tls == {}
    assert parse("amqp://h", ssl={"ca_certs": "/ca"}).tls == {"ca_certs": "/ca"}
    assert parse("amqps://h?ssl_ca_certs=/other", ssl={"ca_certs": "/ca", "keyfile": "/k"}).tls == {
        "ca_certs": "/other",
        "keyfile": "/k",
    }
    assert parse("amqp://h?ssl=true").tls == {}
    assert parse("amqp://h", {"ssl": {"ciphers": "x"}}).tls == {"ciphers": "x"}


@pytest.mark.parametrize("version", [ssl.PROTOCOL_TLS_CLIENT, "PROTOCOL_TLS", None])
def test_given_no_version_of_its_own_then_certificates_and_names_are_checked(version: object) -> None:
    context = new_context({"ssl_version": version}, "RabbitMQ")
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is not context.maximum_version


def test_given_one_version_then_only_that_is_spoken() -> None:
    context = new_context({"version": "PROTOCOL_TLSv1_2", "cert_reqs": ssl.CERT_NONE}, "RabbitMQ")
    assert context.minimum_version is context.maximum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname
    assert new_context({"cert_reqs": "2"}, "RabbitMQ").verify_mode is ssl.CERT_REQUIRED


def test_given_a_context_of_the_users_own_then_it_is_taken() -> None:
    own = ssl.create_default_context()
    assert new_context({"context": own}, "RabbitMQ") is own


def test_given_two_urls_then_it_is_known_whether_they_are_one_server() -> None:
    assert is_same_server("amqp://localhost", "pyamqp://guest:x@127.0.0.1:5672//")
    assert not is_same_server("amqp://h/a", "amqp://h/b")
    assert not is_same_server("amqp://h", "redis://h")
    assert not is_same_server("", "amqp://h")

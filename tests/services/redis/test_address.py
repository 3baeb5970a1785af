"""What URLs and options of Redis mean."""

from __future__ import annotations

import ssl

import pytest

from sedano.contracts import OpenOptions
from sedano.drivers import redis
from sedano.drivers.redis.address import Address, Server, address_of
from sedano.drivers.redis.keys import Keys, keys_of, result_keys_of
from sedano.drivers.tls import new_context
from sedano.exceptions import ImproperlyConfigured


def parse(url: str, **transport: object) -> Address:
    return address_of(url, transport, OpenOptions())


@pytest.mark.parametrize(
    ("url", "server", "db"),
    [
        ("redis://", Server("localhost", 6379), 0),
        ("redis://h/3", Server("h", 6379), 3),
        ("redis://h:7000", Server("h", 7000), 0),
        ("redis://h:7000/", Server("h", 7000), 0),
        ("valkey://h/2", Server("h", 6379), 2),
        ("redis://[::1]:7000/1", Server("::1", 7000), 1),
        ("redis://h?virtual_host=4", Server("h", 6379), 4),
        ("redis+socket:///run/redis.sock?virtual_host=5", Server(path="/run/redis.sock"), 5),
        ("unix:///run/redis.sock?db=6", Server(path="/run/redis.sock"), 6),
        ("socket:///run/redis.sock", Server(path="/run/redis.sock"), 0),
    ],
)
def test_given_a_url_when_parsed_then_server_and_database_are_those_of_celery(url: str, server: Server, db: int) -> None:
    address = parse(url)
    assert (address.server, address.db) == (server, db)


def test_given_an_account_in_the_url_when_parsed_then_it_is_unquoted_and_never_shown() -> None:
    address = parse("redis://us%40er:p%2Fss%3A@h:1/0")
    assert (address.username, address.password) == ("us@er", "p/ss:")
    assert "ss" not in address.shown
    assert "h:1" in address.shown


def test_given_a_password_alone_when_parsed_then_there_is_no_user() -> None:
    address = parse("redis://:secret@h")
    assert (address.username, address.password) == ("", "secret")


@pytest.mark.parametrize(
    "url",
    ["redis://h/x", "http://h", "redis", "redis+socket://", "redis://a;redis://b", "redis://h?ssl_cert_reqs=none", "",
     "redis://h:port", "redis://h?socket_timeout=soon", "redis://h?socket_keepalive=perhaps"],
)  # fmt: skip
def test_given_a_wrong_url_when_opened_then_it_says_so_at_once_with_an_example(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="redis://host:6379/0"):
        redis.open_broker(url, OpenOptions())


def test_given_a_wrong_url_with_a_password_when_opened_then_the_error_hides_it() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        redis.open_results("redis://:hunter2@h/x", OpenOptions())
    assert "hunter2" not in str(caught.value)


def test_given_options_in_transport_query_and_settings_when_parsed_then_the_query_wins() -> None:
    address = parse("redis://h?socket_timeout=3", socket_timeout=9, redis_socket_connect_timeout=2, socket_keepalive="false")
    assert (address.socket_timeout_s, address.connect_timeout_s, address.keepalive) == (3.0, 2.0, False)


def test_given_several_sentinels_when_parsed_then_all_are_asked_for_the_named_master() -> None:
    address = parse("sentinel://:pw@a:1/2;sentinel://b:2;sentinel://c", master_name="mymaster")
    assert address.sentinels is not None
    assert address.sentinels.servers == (Server("a", 1), Server("b", 2), Server("c", 26379))
    assert (address.sentinels.master_name, address.db, address.password) == ("mymaster", 2, "pw")


def test_given_sentinels_without_a_master_name_when_opened_then_the_error_names_the_option() -> None:
    with pytest.raises(ImproperlyConfigured, match="master_name"):
        parse("sentinel://a:1")


def test_given_tls_parameters_when_a_context_is_made_then_they_count() -> None:
    assert parse("redis://h").tls is None
    wanted = parse("rediss://h?ssl_cert_reqs=CERT_NONE").tls
    assert wanted is not None
    context = new_context(wanted, "Redis")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    strict = new_context(parse("valkeys://h").tls or {}, "Redis")
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_given_the_ssl_setting_when_parsed_then_a_plain_scheme_becomes_tls() -> None:
    address = address_of("redis://h", {}, OpenOptions(ssl={"ssl_cert_reqs": ssl.CERT_OPTIONAL}))
    assert address.tls is not None
    assert new_context({**address.tls, "ssl_check_hostname": False}, "Redis").verify_mode is ssl.CERT_OPTIONAL


@pytest.mark.parametrize("options", [{"ssl_cert_reqs": "maybe"}, {"ssl_ca_certs": "/nowhere/ca.pem"}, {"ssl_keyfile": "/k"}])
def test_given_unusable_tls_parameters_when_a_context_is_made_then_the_configuration_is_blamed(options: dict[str, str]) -> None:
    with pytest.raises(ImproperlyConfigured, match="ssl"):
        new_context(options, "Redis")


@pytest.mark.parametrize(
    ("broker", "results", "is_shared"),
    [
        ("redis://h/0", "redis://h:6379/1", True),
        ("redis://localhost", "redis://127.0.0.1/5", True),
        ("redis+socket:///r.sock", "unix:///r.sock?db=2", True),
        ("redis://:a@h/0", "redis://:b@h/0", False),
        ("redis://h/0", "redis://other/0", False),
        ("redis://h/0", "redis://h:6380/0", False),
        ("redis://h/0", "rediss://h/0", False),
        ("redis://h/0", "", False),
        ("redis://h/0", "sqlite:///x", False),
        ("sentinel://a:1/0;sentinel://b:2", "sentinel://b:2/1;sentinel://a:1", True),
    ],
)
def test_given_two_urls_when_compared_then_one_server_is_one_store(broker: str, results: str, is_shared: bool) -> None:
    assert redis.shares_store(broker, results) is is_shared


def test_given_sentinels_of_two_masters_when_the_broker_is_opened_then_it_writes_no_results_itself() -> None:
    options = OpenOptions(
        results_url="sentinel://a:1/1", transport={"master_name": "one"}, results_transport={"master_name": "two"}
    )
    assert not redis.open_broker("sentinel://a:1/0", options).capabilities.shared_results


def test_given_a_result_store_elsewhere_when_the_broker_is_opened_then_it_writes_no_results_itself() -> None:
    assert not redis.open_broker("redis://a", OpenOptions(results_url="redis://b")).capabilities.shared_results
    assert redis.open_broker("redis://a", OpenOptions(results_url="redis://a/1")).capabilities.shared_results


def test_given_a_short_visibility_timeout_when_the_broker_is_opened_then_it_warns_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        redis.open_broker("redis://:pw@impatient/7", OpenOptions(transport={"visibility_timeout": 12}))
    (record,) = [record for record in caplog.records if "impatient" in record.getMessage()]
    assert record.levelname == "WARNING"
    assert "pw" not in record.getMessage()


def test_given_transport_options_when_keys_are_named_then_they_are_kombus() -> None:
    transport = {"global_keyprefix": "bk:", "sep": ":", "priority_steps": [0, 5], "fanout_prefix": "/x.", "unacked_key": "u"}
    keys = keys_of(transport, 3, is_sentinel=False)
    assert keys.ready_of_all_steps("q") == ["bk:q", "bk:q:5"]
    assert keys.channels("celery.pidbox") == ["bk:/x.celery.pidbox"]
    assert (keys.unacked, keys.unacked_index) == ("bk:u", "bk:unacked_index")
    assert [keys.step(priority) for priority in (-1, 0, 4, 5, 99)] == [0, 0, 0, 5, 5]


def test_given_fanout_options_when_channels_are_named_then_database_and_key_follow_them() -> None:
    assert keys_of({}, 3, is_sentinel=False).channels("ev", "a.b") == ["/3.ev/a.b"]
    assert keys_of({"fanout_prefix": False, "fanout_patterns": False}, 3, is_sentinel=False).channels("ev", "a.b") == ["ev"]
    compat = keys_of({"sentinel_fanout_compat": True}, 3, is_sentinel=True)
    assert compat.channels("ev") == ["/3.ev", "/{db}.ev"]


def test_given_priorities_when_mapped_to_default_steps_then_they_go_down() -> None:
    assert [Keys().step(priority) for priority in range(10)] == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9]


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("", "celery-task-meta-i"),
        ("app", "app_celery-task-meta-i"),
        ("app:", "app:celery-task-meta-i"),
        ("a.", "a.celery-task-meta-i"),
    ],
)
def test_given_a_prefix_for_results_when_keys_are_named_then_a_separator_is_added_as_celery_does(prefix: str, key: str) -> None:
    assert result_keys_of({"global_keyprefix": prefix}).record("i") == key


def test_given_priority_steps_without_zero_when_opened_then_it_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="priority_steps"):
        redis.open_broker("redis://h", OpenOptions(transport={"priority_steps": [3, 6]}))

"""Where the stores are and how they are spoken to: settings of connections, against real servers."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.servers import RedisServer, is_left_out
from tests.services.settings.apps import PATIENCE_S, Apps, headers, next_delivery, task
from tests.services.settings.doorman import Doorman, FullHouse

from sedano.exceptions import OperationalError
from sedano.worker.node import Worker
from sedano.worker.plan import WorkerOptions

USER, PASSWORD = "alice", "s/e:c@ret"
OTHER_HOST = "127.0.0.2"  # this machine under a name that nothing takes for granted


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- which store -------------------------------------------------------------------------------------------------------------


@pytest.mark.setting("broker_url")
def test_given_a_broker_url_when_a_call_is_sent_then_it_waits_there(apps: Apps) -> None:
    app = apps.make(broker_url="memory://here")

    app.send_task("t")

    assert headers(next_delivery(apps.make(broker_url="memory://here")))["task"] == "t"


@pytest.mark.setting("broker_url", "result_backend", "broker_read_url", "broker_write_url")
@pytest.mark.parametrize("setting", ["broker_url", "result_backend", "broker_read_url", "broker_write_url"])
def test_given_a_url_in_the_environment_when_it_is_used_then_it_wins(
    apps: Apps, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv(f"CELERY_{setting.upper()}", "memory://from-outside")
    stores = apps.make(**{setting: "memory://given"}).stores

    used = {"broker_write_url": stores.write_url, "result_backend": stores.results_url}.get(setting, stores.broker_url)
    assert used == "memory://from-outside"


@pytest.mark.setting("broker_read_url", "broker_write_url")
def test_given_urls_for_reading_and_writing_when_calls_are_sent_and_taken_then_each_goes_its_way(apps: Apps) -> None:
    app = apps.make(broker_read_url="memory://read", broker_write_url="memory://write")
    task(app, name="t")(lambda: 5)
    app.send_task("t")
    assert headers(next_delivery(apps.make(broker_url="memory://write")))["task"] == "t"

    apps.working(app)
    sent = apps.make(broker_url="memory://read").send_task("t")

    assert app.AsyncResult(sent.id).get(timeout=PATIENCE_S) == 5


# -- the parts of a URL, and who one is there --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gate_keeper() -> Iterator[tuple[RedisServer, int]]:
    """A server behind a TCP port that knows who comes, and the port."""
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    port = free_port()
    account = ("--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all")
    with RedisServer("--port", str(port), "--bind", "127.0.0.1", OTHER_HOST, *account) as server:
        yield server, port


def visitors(server: RedisServer, port: int) -> list[dict[str, str]]:
    """Who is connected to the port."""
    lines = server.command("CLIENT", "LIST").decode().splitlines()
    everybody = [dict(word.partition("=")[::2] for word in line.split()) for line in lines]
    return [client for client in everybody if client["laddr"] == f"{OTHER_HOST}:{port}"]


@pytest.mark.redis
@pytest.mark.setting("broker_transport", "broker_host", "broker_port", "broker_user", "broker_password", "broker_vhost")
@pytest.mark.parametrize(
    "url_of",
    [
        lambda port: {"broker_url": None, "broker_transport": "redis", "broker_host": OTHER_HOST, "broker_port": str(port)},
        lambda port: {"broker_url": None, "broker_host": f"redis://{OTHER_HOST}:{port}"},
        lambda port: {"broker_url": f"redis://{OTHER_HOST}", "broker_port": port},
        lambda port: {"broker_url": f"redis://{OTHER_HOST}:{port}", "broker_transport": "amqp", "broker_host": "elsewhere"},
    ],
    ids=["all parts", "a URL as host", "a URL without port", "a URL with all"],
)
def test_given_the_parts_of_a_brokers_url_when_it_is_opened_then_they_say_what_the_url_leaves_out(
    apps: Apps, gate_keeper: tuple[RedisServer, int], url_of: Callable[[int], dict[str, Any]]
) -> None:
    server, port = gate_keeper
    app = apps.make(
        **url_of(port), broker_user=USER, broker_password=PASSWORD, broker_vhost="3", result_backend="disabled"
    )  # fmt: skip

    broker = apps.broker(app)
    broker.queues()

    assert {(client["user"], client["db"]) for client in visitors(server, port)} == {(USER, "3")}
    broker.close()


@pytest.mark.redis
@pytest.mark.setting("redis_host", "redis_port", "redis_db", "redis_username", "redis_password")
@pytest.mark.parametrize(
    ("url_of", "db"),
    [
        (lambda port: {"result_backend": "redis", "redis_host": OTHER_HOST, "redis_port": str(port), "redis_db": "4"}, "4"),
        (lambda port: {"result_backend": f"redis://{OTHER_HOST}:{port}/5", "redis_host": "elsewhere", "redis_db": 4}, "5"),
        (lambda port: {"result_backend": f"redis://{OTHER_HOST}/5", "redis_port": port}, "5"),
    ],
    ids=["all parts", "a URL with all", "a URL without port"],
)
def test_given_the_parts_of_a_result_url_when_it_is_opened_then_they_say_what_the_url_leaves_out(
    apps: Apps, gate_keeper: tuple[RedisServer, int], url_of: Callable[[int], dict[str, Any]], db: str
) -> None:
    server, port = gate_keeper
    app = apps.make(**url_of(port), redis_username=USER, redis_password=PASSWORD)

    with contextlib.closing(app.stores.open_results()) as results:
        results.fetch(["id"])
        found = {(client["user"], client["db"]) for client in visitors(server, port)}

    assert found == {(USER, db)}


# -- options of drivers ------------------------------------------------------------------------------------------------------


@pytest.mark.redis
@pytest.mark.setting("broker_transport_options", "result_backend_transport_options")
def test_given_options_for_the_drivers_when_calls_and_results_are_written_then_they_follow_them(
    apps: Apps, redis: RedisServer
) -> None:
    app = apps.make(
        broker_url=redis.url,
        result_backend=redis.url,
        broker_transport_options={"global_keyprefix": "calls:"},
        result_backend_transport_options={"global_keyprefix": "ends"},
    )

    app.send_task("t")
    app.backend.store_result("id", 5, "SUCCESS")

    assert redis.command("LLEN", "calls:celery") == 1
    assert redis.command("EXISTS", "ends_celery-task-meta-id") == 1


# -- patience ----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def fails_within(least_s: float, most_s: float) -> Generator[None]:
    began = time.monotonic()
    with pytest.raises(OperationalError):
        yield
    assert least_s <= time.monotonic() - began <= most_s


@pytest.mark.setting("broker_connection_timeout")
@pytest.mark.parametrize("given", [0.2, "0.2"])
def test_given_a_timeout_when_a_broker_does_not_let_us_in_then_we_wait_no_longer(apps: Apps, given: Any) -> None:
    with FullHouse() as house:
        app = apps.make(broker_url=house.url, broker_connection_timeout=given, task_publish_retry=False)
        with fails_within(0.1, 3.5):
            app.send_task("t")


@pytest.mark.setting("redis_socket_connect_timeout", "broker_connection_timeout")
@pytest.mark.parametrize("settings", [{"redis_socket_connect_timeout": 0.2}, {"broker_connection_timeout": 0.2}], ids=str)
def test_given_a_timeout_when_the_result_store_does_not_let_us_in_then_we_wait_no_longer(
    apps: Apps, settings: dict[str, float]
) -> None:
    with FullHouse() as house:
        results = apps.make(result_backend=house.url, **settings).stores.open_results()
        with fails_within(0.1, 3.5):
            results.fetch(["id"])


@pytest.mark.setting("redis_socket_timeout")
@pytest.mark.parametrize("given", [0.2, "0.2"])
def test_given_a_timeout_when_the_result_store_does_not_answer_then_we_wait_no_longer(apps: Apps, given: Any) -> None:
    with Doorman(hangs_up=False) as doorman:
        results = apps.make(result_backend=doorman.url, redis_socket_timeout=given).stores.open_results()
        with fails_within(0.1, 60):
            results.fetch(["id"])


def keeps_alive(port: int) -> bool:
    """Whether this process's connection to the port is kept alive by TCP."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as ours:
            if ours.family == socket.AF_INET and ours.getpeername()[1] == port:
                return ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    raise AssertionError(f"nothing is connected to port {port}")


@pytest.mark.redis
@pytest.mark.setting("redis_socket_keepalive")
@pytest.mark.parametrize(("given", "kept"), [({}, True), ({"redis_socket_keepalive": False}, False)], ids=str)
def test_given_keepalive_off_when_the_result_store_is_connected_then_tcp_does_not_keep_it_alive(
    apps: Apps, gate_keeper: tuple[RedisServer, int], given: dict[str, bool], kept: bool
) -> None:
    _, port = gate_keeper
    with contextlib.closing(apps.make(result_backend=f"redis://127.0.0.1:{port}", **given).stores.open_results()) as results:
        results.fetch(["id"])
        assert keeps_alive(port) is kept


# -- TLS ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TlsServer:
    url: str
    certificate: str


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    program = shutil.which("openssl")
    if program is None or is_left_out("redis"):
        pytest.skip("no openssl to make a certificate with, or SEDANO_WITHOUT names redis")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost"]  # fmt: skip
    subprocess.run([program, *words], check=True, capture_output=True)
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
               "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"]  # fmt: skip
    with RedisServer(*options):
        yield TlsServer(f"redis://localhost:{port}", str(certificate))


@pytest.mark.redis
@pytest.mark.setting("broker_use_ssl", "redis_backend_use_ssl")
@pytest.mark.parametrize(("certificate", "works"), [(True, True), (False, False)], ids=["trusted", "unknown"])
def test_given_tls_settings_when_stores_are_opened_then_each_is_spoken_to_through_tls(
    apps: Apps, tls_server: TlsServer, certificate: bool, works: bool
) -> None:
    trusted: Any = {"ssl_cert_reqs": "required", "ssl_ca_certs": tls_server.certificate} if certificate else True
    broker = apps.make(broker_url=tls_server.url, result_backend="disabled", broker_use_ssl=trusted)
    results = apps.make(result_backend=tls_server.url, redis_backend_use_ssl=trusted)

    for use in (lambda: apps.broker(broker).queues(), lambda: results.backend.get_task_meta("id")):
        with contextlib.nullcontext() if works else pytest.raises(OperationalError):
            use()


# -- a worker without its broker ---------------------------------------------------------------------------------------------


@pytest.mark.setting("broker_connection_retry", "broker_connection_retry_on_startup", "broker_connection_max_retries")
@pytest.mark.parametrize(
    ("settings", "goes_on"),
    [
        ({"broker_connection_retry_on_startup": False}, False),
        ({"broker_connection_retry": "no"}, False),
        ({"broker_connection_retry": False, "broker_connection_retry_on_startup": True}, True),
        ({"broker_connection_max_retries": "1"}, False),
        ({"broker_connection_max_retries": 0}, True),
        ({"broker_connection_max_retries": None}, True),
    ],
    ids=str,
)
def test_given_no_broker_when_a_worker_starts_then_it_waits_for_one_or_gives_up(
    apps: Apps, doorman: Doorman, caplog: pytest.LogCaptureFixture, settings: dict[str, Any], goes_on: bool
) -> None:
    app = apps.make(broker_url=doorman.url, worker_lease_time=0.5, **settings)

    worker = Worker(app, WorkerOptions(hostname="w1@test", pool="solo"), embedded=True)
    thread = threading.Thread(target=worker.start, daemon=True)
    thread.start()
    wait_until(lambda: not thread.is_alive() or (goes_on and caplog.text.count("Trying again") > 6))
    worker.stop()
    thread.join(PATIENCE_S)

    assert worker.exitcode == (0 if goes_on else 1)
    assert ("gives up" in caplog.text) is not goes_on


@pytest.mark.redis
@pytest.mark.setting("broker_connection_retry")
@pytest.mark.parametrize(("given", "goes_on"), [(True, True), (False, False)])
def test_given_a_broker_that_goes_away_when_a_worker_notices_then_it_waits_for_it_or_ends(
    apps: Apps, given: bool, goes_on: bool
) -> None:
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as server:
        app = apps.make(broker_url=server.url, broker_connection_retry=given, worker_lease_time=1)
        task(app, name="t")(lambda: 5)
        worker = Worker(app, WorkerOptions(hostname="w1@test", pool="solo"), embedded=True)
        thread = threading.Thread(target=worker.start, daemon=True)
        thread.start()
        assert worker.ready.wait(PATIENCE_S)
        server.kill()
        if goes_on:
            server.start()
            assert app.send_task("t").get(timeout=PATIENCE_S) == 5
            worker.stop()
        thread.join(PATIENCE_S)
        assert worker.exitcode == (0 if goes_on else 1)


def wait_until(claim: Callable[[], bool]) -> None:
    """Threads of a worker tell nobody what they do: they can only be looked at."""
    deadline = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)

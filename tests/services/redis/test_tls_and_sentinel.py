"""TLS and Sentinel, against real servers of their own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest
from tests.servers import RedisServer

from sedano.contracts import OpenOptions
from sedano.drivers import redis
from sedano.exceptions import BrokerUnavailable, OperationalError
from sedano.testing.contracts.messages import batch, result

pytestmark = pytest.mark.redis

FAILOVER_S = 90.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- TLS ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", cert,
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


@pytest.fixture(scope="module")
def tls_port(certificate: tuple[Path, Path]) -> Generator[int]:
    key, cert = certificate
    port = free_port()
    arguments = ["--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key),
                 "--tls-ca-cert-file", str(cert), "--tls-auth-clients", "no"]  # fmt: skip
    with RedisServer(*arguments):
        yield port


def test_given_a_trusted_certificate_when_connected_by_tls_then_everything_works(
    tls_port: int, certificate: tuple[Path, Path]
) -> None:
    url = f"rediss://localhost:{tls_port}/1?ssl_cert_reqs=required&ssl_ca_certs={certificate[1]}"
    options = OpenOptions(results_url=url)
    with closing(redis.open_broker(url, options)) as broker, closing(redis.open_results(url, options)) as results:
        lease = broker.register("tls-owner", "n")
        broker.publish(batch("q", map(str, range(500)), body=b"x" * 2000))
        assert len(broker.turn(lease, reserve=500, queues=["q"]).reserved) == 500
        broker.wait(["q"], 0.01)
        with closing(results.subscribe()) as stream:
            stream.watch(["a"])
            results.store([result("a", b"p" * 100_000)])
            assert stream.wait(10.0) == [("a", b"p" * 100_000)]


def test_given_an_unknown_certificate_when_connected_by_tls_then_unavailable_unless_it_is_not_asked_for(tls_port: int) -> None:
    broker = redis.open_broker(f"rediss://localhost:{tls_port}", OpenOptions())
    with pytest.raises(BrokerUnavailable, match="certificate"):
        broker.publish(batch("q", "a"))
    options = OpenOptions(ssl={"ssl_cert_reqs": "none"})
    with closing(redis.open_broker(f"redis://127.0.0.1:{tls_port}", options)) as broker:
        broker.publish(batch("q", "a"))


# -- Sentinel ------------------------------------------------------------------------------------------------------------------


class Cluster:
    """A master, its replica and one sentinel that watches them."""

    def __init__(self) -> None:
        self.ports = [free_port(), free_port()]
        self.sentinel_port = free_port()
        self.servers = [self._server(port) for port in self.ports]
        self._sentinel: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"sentinel://127.0.0.1:1;sentinel://127.0.0.1:{self.sentinel_port}/0"

    def start(self, folder: Path) -> None:
        for server in self.servers:
            server.start()
        self.servers[1].command("REPLICAOF", "127.0.0.1", self.ports[0])
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {self.sentinel_port}\ndir {folder}\nsentinel monitor mymaster 127.0.0.1 {self.ports[0]} 1\n"
            "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n"
        )
        program = shutil.which("redis-server")
        assert program is not None
        self._sentinel = subprocess.Popen([program, config, "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def close(self) -> None:
        if self._sentinel is not None:
            self._sentinel.kill()
            self._sentinel.wait()
        for server in self.servers:
            server.close()

    def _server(self, port: int) -> RedisServer:
        return RedisServer("--port", str(port), "--repl-diskless-sync-delay", "0")


@pytest.fixture
def cluster(tmp_path: Path) -> Generator[Cluster]:
    cluster = Cluster()
    try:
        cluster.start(tmp_path)
        yield cluster
    finally:
        cluster.close()


def eventually(act: Callable[[], object], until: str = "") -> None:
    """Repeat until it raises nothing, or an error that says `until`: other processes are to agree first."""
    deadline = time.monotonic() + FAILOVER_S
    while True:
        try:
            act()
        except OperationalError as error:
            if (until and until in str(error)) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def test_given_a_failover_when_the_master_dies_then_the_broker_finds_the_new_one(cluster: Cluster) -> None:
    options = OpenOptions(transport={"master_name": "mymaster"}, connect_timeout_s=1.0, socket_timeout_s=5.0)
    with closing(redis.open_broker(cluster.url, options)) as broker:
        eventually(lambda: broker.publish(batch("q", "a")))
        while cluster.servers[1].command("LLEN", "q") != 1:  # not replicated yet
            time.sleep(0.05)
        cluster.servers[0].kill()
        with pytest.raises(BrokerUnavailable):
            broker.publish(batch("q", "lost"))
        eventually(lambda: broker.publish(batch("q", "b")))
        lease = broker.register("owner", "n")
        found = broker.turn(lease, reserve=10, queues=["q"]).reserved
        assert {one.message.headers["id"] for one in found if one.message} >= {"a", "b"}


def test_given_a_master_that_no_sentinel_knows_when_connecting_then_unavailable_says_who_was_asked(cluster: Cluster) -> None:
    options = OpenOptions(transport={"master_name": "other"}, connect_timeout_s=1.0)
    broker = redis.open_broker(cluster.url, options)
    with pytest.raises(BrokerUnavailable, match="knows no master 'other'"):
        eventually(lambda: broker.publish(batch("q", "a")), until="knows no master")

"""The proxy between a client and a server that gives back what it is told."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from sedano.testing.proxy import Proxy

PATIENCE_S = 60.0


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def serving(server: socketserver.BaseServer) -> Generator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def proxy() -> Generator[Proxy]:
    server = Server(("127.0.0.1", 0), Echo)
    with serving(server), Proxy(("127.0.0.1", server.server_address[1])) as made:
        yield made


@contextlib.contextmanager
def client(proxy: Proxy) -> Generator[socket.socket]:
    with socket.create_connection((proxy.host, proxy.port), PATIENCE_S) as stream:
        yield stream


def ask(stream: socket.socket, data: bytes = b"ping") -> bytes:
    stream.sendall(data)
    return take(stream, len(data))


def take(stream: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count and (more := stream.recv(count - len(got))):
        got += more
    return got


def test_given_a_proxy_when_nothing_is_ordered_then_bytes_pass_and_are_counted(proxy: Proxy) -> None:
    with client(proxy) as one, client(proxy) as two:
        assert ask(one) == b"ping"
        assert ask(one, b"x" * 3_000_000) == b"x" * 3_000_000
        assert ask(two, b"again") == b"again"
        told = proxy.traffic
    assert (told.connections, told.bytes_up, told.bytes_down) == (2, 3_000_009, 3_000_009)
    assert told.round_trips >= 3


def test_given_a_client_that_says_two_things_at_once_then_it_is_one_round_trip(proxy: Proxy) -> None:
    with client(proxy) as stream:
        for _ in range(5):
            ask(stream, b"GET a\r\nGET b\r\n")
        assert proxy.traffic.round_trips == 5
        proxy.reset_counts()
        ask(stream)
    assert (proxy.traffic.round_trips, proxy.traffic.bytes_up, proxy.traffic.connections) == (1, 4, 0)


def test_given_a_delay_then_each_way_takes_it(proxy: Proxy) -> None:
    with client(proxy) as stream:
        ask(stream)
        proxy.delay_s = 0.1
        began = time.monotonic()
        assert ask(stream, b"slow") == b"slow"
        assert time.monotonic() - began >= 0.2
        proxy.delay_s = 0.0
        assert ask(stream, b"in order") == b"in order"


def test_given_connections_that_are_cut_then_both_ends_are_reset_and_new_ones_work(proxy: Proxy) -> None:
    with client(proxy) as stream:
        ask(stream)
        assert proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            stream.recv(10)
    assert proxy.open_connections == 0
    with client(proxy) as stream:
        assert ask(stream) == b"ping"


def test_given_a_half_open_connection_then_it_hears_nothing_and_is_not_told_and_new_ones_work(proxy: Proxy) -> None:
    with client(proxy) as stream:
        ask(stream)
        assert proxy.half_open() == 1
        stream.sendall(b"into the void")
        stream.settimeout(0.3)
        with pytest.raises(TimeoutError):
            stream.recv(10)
        with client(proxy) as other:
            assert ask(other) == b"ping"
        stream.sendall(b"still nobody says no")
    assert proxy.traffic.bytes_up == 8


def test_given_a_connection_that_is_half_open_downwards_then_the_server_hears_what_the_client_says(proxy: Proxy) -> None:
    with client(proxy) as stream:
        ask(stream)
        proxy.half_open("down")
        stream.sendall(b"heard")
        stream.settimeout(0.3)
        with pytest.raises(TimeoutError):
            stream.recv(10)
    assert proxy.traffic.bytes_up == 9


def test_given_a_cut_after_some_bytes_then_so_many_arrive_and_it_happens_once(proxy: Proxy) -> None:
    with client(proxy) as stream:
        proxy.cut_after(7)
        assert ask(stream, b"four") == b"four"
        stream.sendall(b"four")
        assert take(stream, 3) == b"fou"
        with pytest.raises(ConnectionResetError):
            stream.recv(10)
    with client(proxy) as stream:
        assert ask(stream, b"x" * 100) == b"x" * 100


def test_given_a_proxy_that_refuses_then_nobody_connects_what_is_connected_stays_and_the_port_is_kept(proxy: Proxy) -> None:
    port = proxy.port
    with client(proxy) as stream:
        ask(stream)
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError), client(proxy):
            pass
        assert ask(stream) == b"ping"
        proxy.accept()
        with client(proxy) as other:
            assert ask(other) == b"ping"
    assert proxy.port == port


def test_given_a_server_that_is_away_then_the_client_is_reset() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with (
            Proxy(("127.0.0.1", nobody.getsockname()[1])) as proxy,
            pytest.raises(ConnectionResetError),  # at once, or when it reads
            client(proxy) as stream,
        ):
            assert stream.recv(10) == b"never"


def test_given_a_client_that_leaves_then_the_server_hears_of_it_and_nothing_is_kept(proxy: Proxy) -> None:
    with client(proxy) as stream:
        ask(stream)
    deadline = time.monotonic() + PATIENCE_S
    while proxy.open_connections and time.monotonic() < deadline:
        time.sleep(0.01)  # the server's thread closes its side
    assert proxy.open_connections == 0


def test_given_unix_sockets_on_both_sides_then_it_is_the_same(tmp_path: Path) -> None:
    server = UnixServer(str(tmp_path / "server"), Echo)
    with serving(server), Proxy(tmp_path / "server", listen=tmp_path / "proxy") as proxy:
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(proxy.path)
            assert ask(stream) == b"ping"
            proxy.cut()
            stream.settimeout(PATIENCE_S)
            with contextlib.suppress(ConnectionResetError):
                assert stream.recv(10) == b""
        proxy.refuse()
        with socket.socket(socket.AF_UNIX) as stream, pytest.raises(ConnectionRefusedError):
            stream.connect(proxy.path)
        proxy.accept()
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(proxy.path)
            assert ask(stream) == b"ping"


def test_given_a_proxy_that_does_not_run_when_ordered_then_it_says_so() -> None:
    proxy = Proxy(("127.0.0.1", 1))
    with pytest.raises(RuntimeError, match="context manager"):
        proxy.cut()

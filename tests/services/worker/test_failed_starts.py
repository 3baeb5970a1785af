"""A node that cannot start leaves nothing open in the process that wanted it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.apps import MakeApp, make_app

from sedano.exceptions import ImproperlyConfigured
from sedano.testing.worker import start_worker

__all__ = ["make_app"]


def descriptors() -> set[str]:
    """What is open in this process, without what the look itself needs."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue  # of the look
    return found


def start(app: Any, **options: Any) -> None:
    with start_worker(app, **options):
        raise AssertionError("it started")


def test_given_a_pool_that_does_not_exist_when_the_node_starts_then_nothing_stays_open(
    make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app(broker=f"sqlite:///{tmp_path}/store.db")
    with pytest.raises(ImproperlyConfigured):
        start(app, pool="nowhere.at:All")  # what is opened once for all is open now
    before = descriptors()
    for _ in range(3):
        with pytest.raises(ImproperlyConfigured):
            start(app, pool="nowhere.at:All")
    assert descriptors() - before == set()


def test_given_a_port_that_is_taken_when_the_node_starts_then_nothing_stays_open(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(broker=f"sqlite:///{tmp_path}/store.db")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        app.conf.worker_http = address
        with pytest.raises(ImproperlyConfigured):
            start(app)
        before = descriptors()
        with pytest.raises(ImproperlyConfigured):
            start(app)
        assert descriptors() - before == set()

"""Where the relays of a node are: for each place among the broker's URLs the path of a socket, or "" where whoever needs a
connection opens one."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sedano.app.connect import Stores
from sedano.contracts import Broker
from sedano.worker.relay.client import RelayBroker

_PREFIX = "sedano-relay-"
_LEFT_S = 3600.0  # a node that is about to start may not listen yet
_LONGEST = 100  # bytes of a socket's path; systems take 104 or 108


def open_at(stores: Stores, doors: Sequence[str], place: int) -> Broker:
    """A connection to the server of `place`, which is the one of `stores`: through its relay where it has one."""
    path = doors[place] if place < len(doors) else ""
    return RelayBroker(path, fill=stores.fill(), heard=stores.options.heard) if path else stores.open_broker()


class Doors:
    """The private folder of this node's sockets; there is none when no server is `supervised`."""

    def __init__(self, supervised: Sequence[bool]) -> None:
        self._folder: str | None = _private_folder() if any(supervised) else None
        self.paths: tuple[str, ...] = tuple(
            os.path.join(self._folder, str(place)) if is_supervised and self._folder is not None else ""
            for place, is_supervised in enumerate(supervised)
        )

    def close(self) -> None:
        """Remove it. Safe twice."""
        folder, self._folder = self._folder, None
        if folder is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)


def _private_folder() -> str:
    folder = tempfile.mkdtemp(prefix=_PREFIX)  # mode 0700
    if len(os.fsencode(folder)) + 8 > _LONGEST:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp")
    _sweep(Path(folder).parent)
    return folder


def _sweep(parent: Path) -> None:
    """Remove folders of nodes that were killed: old ones of ours, behind whose sockets nobody listens."""
    oldest = time.time() - _LEFT_S
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            stat = folder.lstat()
            if stat.st_uid == os.geteuid() and stat.st_mtime < oldest and not any(map(_listens, folder.iterdir())):
                shutil.rmtree(folder)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True

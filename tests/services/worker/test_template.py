"""The template in processes of its own: a script that plays the supervisor, and the process table as the witness."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sedano.worker.template import BORN, DEAD, FORK, RECORD, TemplateEnds, run_template

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the process table of Linux")


class Played:
    """The supervisor's end of a template that this test forked."""

    def __init__(self, slot_main: Callable[[int, int, TemplateEnds], int], slots: int = 2) -> None:
        self.socket, theirs = socket.socketpair()
        self.wake = [os.pipe() for _ in range(slots)]
        self.notify = os.pipe()
        ends = TemplateEnds(
            theirs.fileno(),
            tuple(read for read, _ in self.wake),
            self.notify[1],
            (self.socket.fileno(), *(write for _, write in self.wake)),
        )
        me = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self.socket.detach()
            theirs.detach()
            run_template(ends, slot_main, me, lambda: None)
        theirs.close()

    def order(self, index: int, ordinal: int) -> None:
        self.socket.sendall(RECORD.pack(FORK, index, ordinal, 0, 0))

    def report(self, timeout_s: float = 60.0) -> tuple[int, int, int, int]:
        self.socket.settimeout(timeout_s)
        return RECORD.unpack(self.socket.recv(RECORD.size))[:4]  # type: ignore[return-value]

    def read_notified(self, count: int, timeout_s: float = 60.0) -> bytes:
        data = b""
        deadline = time.monotonic() + timeout_s
        while len(data) < count and select.select([self.notify[0]], [], [], max(0.0, deadline - time.monotonic()))[0]:
            data += os.read(self.notify[0], count)
        return data

    def end(self) -> None:
        self.socket.close()
        for read, write in (*self.wake, self.notify):
            os.close(read)
            os.close(write)
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


@pytest.fixture
def play() -> Iterator[Callable[..., Played]]:
    made: list[Played] = []

    def make(slot_main: Callable[[int, int, TemplateEnds], int], slots: int = 2) -> Played:
        made.append(Played(slot_main, slots))
        return made[-1]

    yield make
    for played in made:
        played.end()


def gone(pid: int, timeout_s: float = 60.0) -> bool:
    """Whether the process has ended (a zombie has) within the time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        select.select([], [], [], 0.01)
    return False


def says_and_waits(index: int, ordinal: int, ends: TemplateEnds) -> int:
    os.write(ends.notify, bytes([index, ordinal]))
    os.read(ends.wake[index], 1)
    return 7


def test_given_an_order_when_the_slot_ends_then_its_birth_and_its_status_are_reported(play: Callable[..., Played]) -> None:
    played = play(says_and_waits)
    played.order(1, 5)
    kind, index, pid, _ = played.report()
    assert (kind, index) == (BORN, 1)
    assert played.read_notified(2) == bytes([1, 5])
    os.write(played.wake[1][1], b"w")
    kind, index, dead, status = played.report()
    assert (kind, index, dead, os.waitstatus_to_exitcode(status)) == (DEAD, 1, pid, 7)


def test_given_a_slot_killed_from_outside_when_it_dies_then_the_signal_is_reported(play: Callable[..., Played]) -> None:
    played = play(says_and_waits)
    played.order(0, 1)
    pid = played.report()[2]
    os.kill(pid, signal.SIGKILL)
    kind, _, dead, status = played.report()
    assert (kind, dead, os.waitstatus_to_exitcode(status)) == (DEAD, pid, -signal.SIGKILL)


def test_given_two_slots_when_the_template_is_killed_then_they_die_with_it(play: Callable[..., Played]) -> None:
    played = play(says_and_waits)
    played.order(0, 1)
    played.order(1, 2)
    pids = {played.report()[2], played.report()[2]}
    assert len(played.read_notified(4)) == 4
    os.kill(played.pid, signal.SIGKILL)
    os.waitpid(played.pid, 0)
    assert all(gone(pid) for pid in pids)
    assert played.socket.recv(1) == b""


def test_given_a_slot_when_the_supervisor_is_gone_then_template_and_slot_leave(play: Callable[..., Played]) -> None:
    played = play(says_and_waits)
    played.order(0, 1)
    pid = played.report()[2]
    played.socket.close()
    assert gone(played.pid)
    assert gone(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1])
def test_given_a_signal_for_the_whole_group_when_the_template_gets_it_then_it_goes_on(
    play: Callable[..., Played], number: signal.Signals
) -> None:
    played = play(says_and_waits)
    played.order(0, 1)
    played.report()  # its handlers are set before the first fork
    os.kill(played.pid, number)
    played.order(1, 2)
    assert played.report()[:2] == (BORN, 1)


def test_given_a_slot_main_that_raises_when_it_runs_then_only_that_slot_ends(play: Callable[..., Played]) -> None:
    def fails(index: int, ordinal: int, ends: TemplateEnds) -> int:
        os.close(2)
        raise RuntimeError("broken on purpose")

    played = play(fails)
    played.order(0, 1)
    assert played.report()[0] == BORN
    kind, _, _, status = played.report()
    assert (kind, os.waitstatus_to_exitcode(status)) == (DEAD, 70)
    played.order(0, 2)
    assert played.report()[0] == BORN


def test_given_a_supervisor_killed_with_9_when_its_template_and_slot_run_then_both_die(tmp_path: Path) -> None:
    script = tmp_path / "play.py"
    script.write_text(
        "import os, signal, socket, sys\n"
        "from sedano.worker.template import *\n"
        "ours, theirs = socket.socketpair(); wake = os.pipe(); notify = os.pipe(); me = os.getpid()\n"
        "def main(index, ordinal, ends):\n"
        "    while True: signal.pause()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    fd, own = theirs.detach(), ours.detach()\n"
        "    run_template(TemplateEnds(fd, (wake[0],), notify[1], (own, wake[1])), main, me, lambda: None)\n"
        "theirs.close(); ours.sendall(RECORD.pack(FORK, 0, 1, 0, 0))\n"
        "slot = RECORD.unpack(ours.recv(RECORD.size))[2]\n"
        "print(pid, slot, flush=True); signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        template, slot = map(int, supervisor.stdout.readline().split())
        supervisor.kill()
        supervisor.wait()
        assert gone(template)
        assert gone(slot)

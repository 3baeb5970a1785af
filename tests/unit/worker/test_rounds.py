"""The rounds of a supervisor's thread: woken, stopped, gone."""

from __future__ import annotations

import os
import threading

from sedano.worker.rounds import Rounds


def test_given_a_thread_that_sleeps_when_it_is_woken_then_the_next_round_comes_at_once() -> None:
    came = threading.Semaphore(0)
    rounds = Rounds("test", lambda: came.release(), lambda: None)
    rounds.start()
    for _ in range(3):
        assert came.acquire(timeout=10)
        rounds.wake()
    rounds.stop()
    assert rounds.join(10)


def test_given_a_thread_that_has_ended_when_it_is_woken_then_nobody_elses_file_is_written_to() -> None:
    rounds = Rounds("test", lambda: None, lambda: None)
    rounds.start()
    rounds.stop()
    assert rounds.join(10)

    reader, writer = os.pipe()  # the numbers that were just closed
    os.set_blocking(writer, False)
    rounds.wake()
    os.close(writer)
    assert os.read(reader, 10) == b""
    os.close(reader)

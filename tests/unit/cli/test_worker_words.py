"""What words of the worker's command line mean, without a worker."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from sedano.app.pidfile import Pidfile, PidfileInUse
from sedano.cli import daemon, reload
from sedano.cli.types import Autoscale, Concurrency
from sedano.cli.worker import worker
from sedano.settings import OPTIONS
from sedano.worker.logs import FORMAT


@pytest.mark.parametrize(
    ("word", "meaning"), [("10,3", "10,3"), ("3,10", "10,3"), ("10", "10,0"), (" 4 , 2 ", "4,2"), ("0", "0,0")]
)
def test_given_an_autoscale_in_any_order_when_it_is_read_then_it_is_the_most_and_the_least(word: str, meaning: str) -> None:
    assert Autoscale().convert(word, None, None) == meaning


@pytest.mark.parametrize("word", ["", "a", "1,2,3", "-1", "3,-1", "1.5,2"])
def test_given_an_autoscale_that_is_none_when_it_is_read_then_it_says_what_it_expects(word: str) -> None:
    with pytest.raises(click.BadParameter, match="Expected two comma separated integers or one integer"):
        Autoscale().convert(word, None, None)


def test_given_a_concurrency_when_it_is_read_then_nought_and_auto_are_left_to_the_node() -> None:
    read = Concurrency().convert
    assert [read(word, None, None) for word in ("4", "0", "auto")] == [4, None, "auto"]
    with pytest.raises(click.BadParameter, match="must be a non-negative integer or 'auto', got '-1'"):
        read("-1", None, None)


CELERYS = """
-A -b -n -D -S -l -O -c -P -E -Q -X -I -B -s -f
--hostname --detach --statedb --loglevel --optimization --prefetch-multiplier --disable-prefetch --concurrency --pool
--task-events --events --time-limit --soft-time-limit --max-tasks-per-child --pool-start-method --max-memory-per-child --purge
--discard --queues --exclude-queues --include --without-gossip --without-mingle --without-heartbeat --heartbeat-interval
--autoscale --beat --schedule-filename --schedule --scheduler --logfile --pidfile --uid --gid --umask --executable
"""


def test_given_celerys_options_when_looked_for_then_the_worker_has_them_all() -> None:
    known = {name for param in worker.params for name in param.opts}
    assert set(CELERYS.split()) - known == {"-A", "-b"}  # they stand before the command


def test_given_the_tables_when_compared_then_the_default_format_is_written_down_once() -> None:
    assert OPTIONS["worker_log_format"].default == FORMAT


# -- masks, users ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mask", "number"), [("022", 0o22), ("77", 77), (0o27, 0o27), ("0", 0)])
def test_given_a_mask_when_it_is_set_then_a_leading_nought_makes_it_octal(mask: str | int, number: int) -> None:
    before = os.umask(0o77)
    try:
        daemon.set_umask(mask)
        assert os.umask(before) == number
    finally:
        os.umask(before)


def test_given_names_that_nobody_has_when_they_are_to_be_taken_on_then_it_names_them() -> None:
    with pytest.raises(click.UsageError, match="User does not exist: no-such-user"):
        daemon.become("no-such-user", None)
    with pytest.raises(click.UsageError, match="Group does not exist: no-such-group"):
        daemon.become(None, "no-such-group")
    with pytest.raises(click.UsageError, match="'8x' is no number"):
        daemon.set_umask("8x")


def test_given_the_user_that_it_is_already_when_it_is_to_be_taken_on_then_nothing_happens() -> None:
    daemon.become(os.getuid(), os.getgid())
    daemon.become(None, None)


# -- reload ------------------------------------------------------------------------------------------------------------------


def test_given_a_tree_of_files_when_it_is_watched_then_only_sources_of_ones_own_count(tmp_path: Path) -> None:
    for name in ("a.py", "deep/b.py", "c.txt", ".git/d.py", "venv/pyvenv.cfg", "venv/lib/e.py", "__pycache__/f.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    before = reload.snapshot(tmp_path)
    assert {os.path.relpath(path, tmp_path) for path in before} == {"a.py", "deep/b.py"}
    (tmp_path / "a.py").unlink()
    (tmp_path / "deep/b.py").write_text("12")
    (tmp_path / "g.py").write_text("1")
    changed = reload.changes(before, reload.snapshot(tmp_path))
    assert [os.path.relpath(path, tmp_path) for path in changed] == ["a.py", "deep/b.py", "g.py"]
    assert reload.changes(before, before) == []


# -- the pidfile -------------------------------------------------------------------------------------------------------------


def test_given_a_pidfile_of_a_living_process_when_another_comes_then_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(PidfileInUse, match=f"already exists.\nSeems we're already running\\? \\(pid: {os.getppid()}\\)"):
        Pidfile(str(path)).acquire()
    assert path.read_text() == f"{os.getppid()}\n"


@pytest.mark.parametrize("left", [f"{2**22 + 1}\n", "nonsense", "", "own", f"{10**40}\n"])
def test_given_a_pidfile_that_nobody_holds_when_one_comes_then_it_is_replaced(tmp_path: Path, left: str) -> None:
    path = tmp_path / "x.pid"
    path.write_text(f"{os.getpid()}\n" if left == "own" else left)
    pidfile = Pidfile(str(path))
    pidfile.acquire()
    assert path.read_text() == f"{os.getpid()}\n"
    pidfile.release()
    assert not path.exists()
    pidfile.release()

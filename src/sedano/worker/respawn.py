"""Template and slots started by exec: `python -m sedano.worker.respawn`, with what it needs to know as JSON on its stdin.

Two ways, for three occasions:

    forking     a template that has loaded the app again and forks slots. When a template died: its supervisor has threads by
                now and cannot fork another.
    spawning    a template that loads nothing and starts each slot by exec; the slot loads the app. When importing the app
                leaves threads behind, which a fork would not carry over, and where fork is unsafe or missing.

A new process finds the app by the same word as the command line (`-A`), or by running the main script again under another
name, as `multiprocessing` does.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import traceback
from multiprocessing import spawn
from typing import Any, NoReturn

import msgspec

from sedano import current, signals
from sedano.app.finding import find_app
from sedano.exceptions import ImproperlyConfigured
from sedano.polling import POLLIN, new_poll
from sedano.worker.context import SlotOptions
from sedano.worker.lifeline import die_with_parent
from sedano.worker.logs import LogPlan, prepare_slot_logs, setup_logs
from sedano.worker.pools import PATCHES
from sedano.worker.slotprocess import SlotMaker
from sedano.worker.table import SharedTable
from sedano.worker.template import TemplateEnds, run_template

TRIAL_S = 120.0
_MOST_SAID = 20_000


class RespawnOrder(msgspec.Struct):
    """How to come by the app again. `app_name` is what `-A` said, None to look for the app that the main script makes;
    `settings` were given to the worker from outside (command line) and win over the app's; `modules` are imported besides."""

    app_name: str | None
    settings: dict[str, Any]
    log: LogPlan
    modules: tuple[str, ...] = ()


class _Papers(msgspec.Struct):
    """What a process needs that was started by exec. `slot` is (row index, ordinal), None for a template."""

    order: RespawnOrder
    spawning: bool
    node: str
    options: dict[str, Any]
    alive_s: float
    table_fd: int
    slots: int
    lanes: int
    pool: str | None
    alias: bool
    socket: int
    wake: list[int]
    notify: int
    tell: int | None
    parent: int
    path: list[str]
    preparation: dict[str, Any]
    relays: tuple[str, ...] = ()
    slot: tuple[int, int] | None = None
    trial: int | None = None  # where to write what came of loading the app: that is all there is to do


class _Trial(msgspec.Struct):
    tasks: tuple[str, ...] = ()
    wrong: str = ""


_PLAIN_OPTIONS = tuple(name for name in SlotOptions.__dataclass_fields__ if name != "clock")


def start_template(order: RespawnOrder, ends: TemplateEnds, maker: SlotMaker, *, spawning: bool) -> int:
    """Start a template; its process id. Returns before it has loaded anything."""
    return _execute(_papers(order, ends, maker, spawning=spawning), [ends.socket, *ends.wake])


def _papers(order: RespawnOrder, ends: TemplateEnds, maker: SlotMaker, *, spawning: bool, trial: int | None = None) -> _Papers:
    preparation: dict[str, Any] = {}
    if order.app_name is None:
        data = spawn.get_preparation_data("sedano-template")
        preparation = {key: data[key] for key in ("init_main_from_name", "init_main_from_path") if key in data}
    return _Papers(
        order=order,
        spawning=spawning,
        node=maker.node,
        options={name: getattr(maker.options, name) for name in _PLAIN_OPTIONS},
        alive_s=maker.alive_s,
        table_fd=maker.table.fd,
        slots=len(maker.table),
        lanes=maker.table.lanes,
        pool=maker.pool,
        alias="sedano.as_celery" in sys.modules,
        socket=ends.socket,
        wake=list(ends.wake),
        notify=ends.notify,
        tell=maker.tell_fd,
        parent=os.getpid(),
        path=list(sys.path),
        preparation=preparation,
        relays=maker.relays,
        trial=trial,
    )


def try_to_load(order: RespawnOrder, maker: SlotMaker) -> tuple[frozenset[str], str]:
    """Load the app in a process of its own, as a template would: (its tasks, ""), else what is wrong, for people.

    Blocks until it is loaded, or for `TRIAL_S`. Of the thread that calls it: the process ends with it.
    """
    ours, theirs = os.pipe()
    try:
        none = TemplateEnds(-1, (), -1)
        pid = _execute(_papers(order, none, maker, spawning=False, trial=theirs), [theirs])
    finally:
        os.close(theirs)
    try:
        poll = new_poll()
        poll.register(ours, POLLIN)
        if not poll.poll(TRIAL_S * 1000):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return frozenset(), f"the app was not loaded within {TRIAL_S:g} s"
        with os.fdopen(os.dup(ours), "rb") as stream:
            said = stream.read()
    finally:
        os.close(ours)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    if not said:
        return frozenset(), "the process that loaded the app died"
    told = msgspec.json.decode(said, type=_Trial)
    return frozenset(told.tasks), told.wrong


def _execute(papers: _Papers, more_fds: list[int]) -> int:
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    patch = PATCHES.get(papers.pool or "") if papers.slot is not None else None
    program = ["-m", "sedano.worker.respawn"]
    environment = dict(os.environ)
    if patch is not None:  # before anything else is imported, by the alias for example
        program = ["-c", f"{patch}; from sedano.worker.respawn import main; main()"]
        environment.pop("SEDANO_AS_CELERY", None)
    elif papers.alias:
        environment["SEDANO_AS_CELERY"] = "1"
    process = subprocess.Popen(
        [sys.executable, *flags, *program],
        stdin=subprocess.PIPE,
        env=environment,
        pass_fds=[fd for fd in (papers.table_fd, papers.notify, papers.tell, *more_fds) if fd is not None and fd >= 0],
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(papers))
    process.stdin.close()
    process.returncode = 0  # others wait for it by its process id: the object must not
    return process.pid


def _load_app(papers: _Papers) -> Any:
    order = papers.order
    spawn.prepare(papers.preparation)
    app = find_app(order.app_name) if order.app_name is not None else current.get_app()
    if app is None:
        raise ImproperlyConfigured(
            "a pool process has run the main script again and found no app in it: start the worker with "
            "`sedano -A module:app worker`"
        )
    app.set_current()
    app.conf.update(order.settings)
    setup_logs(order.log)
    app.loader.import_default_modules()
    for module in order.modules:
        app.loader.import_task_module(module)
    app.finalize()
    return app


def _maker(papers: _Papers) -> SlotMaker:
    app = _load_app(papers)
    log = papers.order.log
    options: dict[str, Any] = {**papers.options, "queues": tuple(papers.options["queues"])}
    return SlotMaker(
        app=app,
        node=papers.node,
        options=SlotOptions(**options),
        table=SharedTable.attach(papers.table_fd, papers.slots, papers.lanes),
        prepare_logs=lambda index: prepare_slot_logs(log, index),
        alive_s=papers.alive_s,
        pool=papers.pool,
        tell_fd=papers.tell,
        relays=papers.relays,
    )


def _spawn_slot(papers: _Papers, index: int, ordinal: int) -> int:
    slot = msgspec.structs.replace(papers, slot=(index, ordinal), parent=os.getpid())
    return _execute(slot, [papers.wake[index]])


def _no_fork(_index: int, _ordinal: int, _ends: TemplateEnds) -> int:
    raise AssertionError("a spawning template forks nothing")


def main() -> None:
    """Be the process that the papers on stdin describe."""
    papers = msgspec.json.decode(sys.stdin.buffer.read(), type=_Papers)
    sys.path[:] = papers.path
    if papers.alias:
        os.environ["SEDANO_AS_CELERY"] = "1"  # for what this process starts
        importlib.import_module("sedano.as_celery")
    if papers.trial is not None:
        _try(papers, papers.trial)
    ends = TemplateEnds(papers.socket, tuple(papers.wake), papers.notify)
    if papers.slot is not None:
        die_with_parent(papers.parent)
        os._exit(_maker(papers).run(*papers.slot, ends))
    if papers.spawning:
        run_template(
            ends, _no_fork, papers.parent, lambda: None, spawn=lambda index, ordinal: _spawn_slot(papers, index, ordinal)
        )
    maker = _maker(papers)
    run_template(ends, maker.run, papers.parent, lambda: _announce(maker))


def _try(papers: _Papers, trial: int) -> NoReturn:
    """Load the app and say what came of it."""
    die_with_parent(papers.parent)
    told = _Trial(wrong="importing it was interrupted")
    try:
        told = _Trial(tuple(_load_app(papers).tasks))
    except Exception:  # whatever the user's modules raise
        told = _Trial(wrong=traceback.format_exc()[-_MOST_SAID:])
    except SystemExit as leave:
        told = _Trial(wrong=f"importing it ended the process: {leave!r}")
    finally:
        with contextlib.suppress(OSError), os.fdopen(trial, "wb") as stream:
            stream.write(msgspec.json.encode(told))
        os._exit(0)


def _announce(maker: SlotMaker) -> None:
    signals.worker_before_create_process.send(maker)


if __name__ == "__main__":
    main()

"""`sedano worker`, with Celery's options. Those without a meaning here are accepted and named in one line each at start."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sedano.cli import daemon
from sedano.cli.completing import complete_queues
from sedano.cli.context import CliContext
from sedano.cli.extrawords import read_extra_words
from sedano.cli.headed import HeadedCommand, option
from sedano.cli.types import AUTOSCALE, COMMA_LIST, CONCURRENCY, LOG_LEVEL, SECONDS
from sedano.cli.useroptions import values_of
from sedano.settings import OPTIONS, UnknownSettingWarning

if TYPE_CHECKING:
    from sedano.app.base import Celery
    from sedano.worker.plan import WorkerOptions

POOLS = "prefork (default), threads, asyncio, gevent, eventlet, solo, custom, or module:Class"


WORKER, POOL, QUEUE, LOG = "Worker Options", "Pool Options", "Queue Options", "Log Options"
FEATURES, BEAT, DAEMON = "Features", "Embedded Beat Options", "Daemonization Options"

# Options that stand for a setting. Whether that has an effect yet is written in the table of settings.
SETTING_OF = {
    "statedb": "worker_state_db",
    "task_events": "worker_send_task_events",
    "pool_start_method": "worker_pool_start_method",
    "max_memory_per_child": "worker_max_memory_per_child",
    "http": "worker_http",
}
# Celery's options that the engine does not need, or that a later version brings. Value: why nothing happens.
WITHOUT_EFFECT = {
    "optimization": "there is one way of handing out work, and it is fair",
    "executable": "a detached worker goes on in the Python that it was started with",
}


@click.command(cls=HeadedCommand, context_settings={"allow_extra_args": True})
@option(
    WORKER,
    "-n",
    "--hostname",
    metavar="HOSTNAME",
    help="Node name, such as 'w1@%h'. %h host, %n its first part, %d domain; a word without @ is the host part.",
)
@option(WORKER, "-D", "--detach", is_flag=True, help="Run in the background; returns when the worker has started.")
@option(WORKER, "-S", "--statedb", metavar="PATH", help="A state db of Celery's: its revoked ids are taken over.")
@option(
    WORKER,
    "-l",
    "--loglevel",
    type=LOG_LEVEL,
    default="WARNING",
    show_default=True,
    envvar="CELERYD_LOG_LEVEL",
    help="Logging level.",
)
@option(
    WORKER,
    "-O",
    "--optimization",
    type=click.Choice(["default", "fair", "fast", "fcfs"]),
    default="default",
    help="Accepted: handing out work is fair in any case.",
)
@option(
    WORKER,
    "--prefetch-multiplier",
    type=click.IntRange(min=0),
    help="Hard cap of what a slot holds; default: measured in time. 0: none.",
)
@option(WORKER, "--disable-prefetch", is_flag=True, default=None, help="Hold nothing that is not about to run.")
@option(WORKER, "--reload", is_flag=True, help="For development: start again, gracefully, when a source file changes.")
@option(POOL, "-c", "--concurrency", type=CONCURRENCY, help="Number of slots, or 'auto'. Default: one per CPU.")
@option(POOL, "-P", "--pool", metavar="POOL", help=f"How tasks run: {POOLS}.")
@option(POOL, "-E", "--task-events", "--events", is_flag=True, default=None, help="Send events at each step of a task.")
@option(POOL, "--time-limit", type=SECONDS, help="Hard time limit of every task, in seconds.")
@option(POOL, "--soft-time-limit", type=SECONDS, help="Soft time limit of every task, in seconds.")
@option(POOL, "--max-tasks-per-child", type=click.IntRange(min=1), help="Replace a process after so many tasks.")
@option(POOL, "--pool-start-method", type=click.Choice(["fork", "spawn"]), help="How pool processes are started.")
@option(
    POOL,
    "--max-memory-per-child",
    type=click.IntRange(min=0),
    metavar="KIB",
    help="Replace a process that has grown beyond this after its task.",
)
@option(
    QUEUE,
    "-Q",
    "--queues",
    type=COMMA_LIST,
    shell_complete=complete_queues,
    help="Queues to take from, comma separated. Default: all of task_queues.",
)
@option(QUEUE, "-X", "--exclude-queues", type=COMMA_LIST, shell_complete=complete_queues, help="Queues not to take from.")
@option(QUEUE, "-I", "--include", type=COMMA_LIST, help="Further modules to import.")
@option(QUEUE, "--purge", "--discard", is_flag=True, help="Drop what waits in the queues first.")
@option(LOG, "--log-format", type=click.Choice(["text", "json"]), help="Lines for people, or one JSON object per line.")
@option(LOG, "-f", "--logfile", envvar="CELERYD_LOG_FILE", help="Log to this file; %n, %h, %p, %i, %I. Default: stderr.")
@option(
    FEATURES,
    "--http",
    metavar="HOST:PORT",
    help="Answer /livez, /readyz and /metrics here. PORT alone: on 127.0.0.1; unix:PATH: in a socket.",
)
@option(FEATURES, "--autoscale", metavar="MAX,MIN", type=AUTOSCALE, help="Let the pool grow and shrink.")
@option(FEATURES, "--without-gossip", is_flag=True, default=None, help="Do not listen to other workers' events.")
@option(FEATURES, "--without-mingle", is_flag=True, default=None, help="Do not ask other workers what was revoked.")
@option(FEATURES, "--without-heartbeat", is_flag=True, default=None, help="Send no heartbeats.")
@option(FEATURES, "--heartbeat-interval", type=float, help="Seconds between heartbeats (2).")
@option(BEAT, "-B", "--beat", is_flag=True, help="Send periodic tasks too. On one worker only: each sends them all.")
@option(BEAT, "-s", "--schedule-filename", "--schedule", metavar="PATH", help="With -B: the file that remembers what was sent.")
@option(BEAT, "--scheduler", metavar="CLASS", help="With -B: the scheduler, module:Class or the name of an installed one.")
@option(
    DAEMON, "--pidfile", envvar="CELERYD_PID_FILE", help="Write the process id to this file; refuse to start when it is taken."
)
@option(DAEMON, "--uid", envvar="CELERYD_USER", help="Run as this user, by name or number.")
@option(DAEMON, "--gid", envvar="CELERYD_GROUP", help="Run as this group, by name or number. Default: the user's.")
@option(DAEMON, "--umask", help="File mode mask, octal with a leading 0.")
@option(DAEMON, "--executable", help="Accepted.")
@click.pass_context
def worker(ctx: click.Context, /, **options: Any) -> None:
    """Start a worker.

    \b
    sedano -A proj worker -l info
    sedano -A proj worker -l info -Q feeds,mail -c 4
    sedano -A proj worker -l info -P eventlet -c 1000
    sedano -A proj worker -l info --reload
    sedano -A proj worker -- task_default_rate_limit=10/m worker_lease_time=30
    """
    context = ctx.ensure_object(CliContext)
    warnings.simplefilter("ignore", UnknownSettingWarning)  # the worker logs all of these at its start
    if options.pop("reload") and not _is_reloaded():
        if options["detach"]:
            raise click.UsageError("--reload is for development and stays at the terminal: leave --detach out")
        ctx.exit(_run_reloading(context))
    detached = daemon.detach() if options.pop("detach") else None
    try:
        code = _start(ctx, context, options, detached)
    except BaseException as error:
        if detached is not None:
            detached.failed(getattr(error, "exit_code", 1))
            if detached.settled:  # there is no terminal to say it at
                logging.getLogger("celery.apps.worker").critical("The worker ends: %s", error)
        raise
    if detached is not None:
        detached.failed(code)
    sys.stdout.flush()
    ctx.exit(code)


def _is_reloaded() -> bool:
    from sedano.cli import reload  # noqa: PLC0415 - for development only
    from sedano.worker.lifeline import die_with_parent  # noqa: PLC0415

    if not reload.is_reloaded():
        return False
    die_with_parent(os.getppid())
    return True


def _run_reloading(context: CliContext) -> int:
    from sedano.cli import reload  # noqa: PLC0415

    context.note(f"Reload: watching the Python sources below {os.getcwd()}.")
    return reload.run_reloading(Path.cwd(), context.started_in, context.note)


def _start(ctx: click.Context, context: CliContext, options: dict[str, Any], detached: daemon.Detached | None) -> int:
    """Everything from the app to the exit code."""
    from sedano.worker.controller import start_worker  # noqa: PLC0415 - `worker --help` does not need the engine

    app = context.app
    if context.app_name is None:
        context.note(
            "No app is given: this worker knows no task of yours. Name the module that holds your app: sedano -A proj worker"
        )
    users = values_of(ctx, app, "worker")
    settings = {**read_extra_words(ctx, "worker"), **settings_of(options)}
    app.conf.update(settings)
    for line in idle_options(options):
        context.note(line)
    _take_on_role(app, options)
    plan = _options_of({**options, "user_options": users}, settings, context)
    if detached is not None and not (plan.logfile or app.conf.typed("worker_logfile")):
        context.note("--detach without --logfile: what this worker logs is lost")
    return start_worker(app, plan, settled=None if detached is None else detached.settle)


def settings_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that options stand for."""
    given = {setting: options[name] for name, setting in SETTING_OF.items() if options[name] is not None}
    if options["log_format"] is not None:
        for setting in ("worker_log_format", "worker_task_log_format"):
            given[setting] = "json" if options["log_format"] == "json" else OPTIONS[setting].default
    return given


def idle_options(options: Mapping[str, Any]) -> list[str]:
    """A line for each option that was given and has no effect."""
    idle = {
        name: OPTIONS[setting].effect
        for name, setting in SETTING_OF.items()
        if options[name] not in (None, False) and not OPTIONS[setting].works
    }
    idle.update({name: why for name, why in WITHOUT_EFFECT.items() if options[name] not in (None, False, "default")})
    return [f"--{name.replace('_', '-')} has no effect: {reason}" for name, reason in idle.items()]


def _take_on_role(app: Celery, options: Mapping[str, Any]) -> None:
    """The mask, group and user of the process, from options or settings, before it writes its first file."""
    chosen = {name: options[name] or app.conf.typed(f"worker_{name}") for name in ("umask", "uid", "gid")}
    if chosen["umask"] not in (None, ""):
        daemon.set_umask(chosen["umask"])
    daemon.become(chosen["uid"] or None, chosen["gid"] or None)


def _options_of(options: Mapping[str, Any], settings: Mapping[str, Any], context: CliContext) -> WorkerOptions:
    from sedano.exceptions import ImproperlyConfigured  # noqa: PLC0415
    from sedano.worker.plan import WorkerOptions  # noqa: PLC0415
    from sedano.worker.pools import pool_name  # noqa: PLC0415

    chosen = {name: options[name] for name in WorkerOptions.__slots__ if options.get(name) is not None}
    for name in ("queues", "exclude_queues", "include"):
        if name in chosen:
            chosen[name] = tuple(chosen[name])
    if "pool" in chosen:
        try:
            pool_name(chosen["pool"])
        except ImproperlyConfigured as error:
            raise click.BadParameter(str(error), param_hint="'-P' / '--pool'") from None
    color = None if context.color else False
    return WorkerOptions(**chosen, settings=settings, app_name=context.app_name, color=color, quiet=context.quiet)

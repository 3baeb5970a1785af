"""`sedano worker`, with Celery's options. Those without a meaning here yet are accepted and named in one line at start."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import click

from sedano.cli.context import CliContext
from sedano.cli.types import COMMA_LIST, LOG_LEVEL, ParamType
from sedano.settings import UnknownSettingWarning, read_words

POOLS = ("prefork", "processes", "solo", "threads", "eventlet", "gevent", "custom")


class Headed(click.Option):
    """An option under a heading of the help page."""

    def __init__(self, *args: Any, heading: str, **kwargs: Any) -> None:
        self.heading = heading
        super().__init__(*args, **kwargs)


class HeadedCommand(click.Command):
    """Groups its options by their headings, as Celery's help does."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(param, "heading", "Options"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def option(heading: str, *names: str, **attributes: Any) -> Callable[[Decorated], Decorated]:
    return click.option(*names, cls=Headed, heading=heading, **attributes)


class Concurrency(ParamType):
    """A number of slots, or `auto`."""

    name = "concurrency"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "auto":
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'auto'", param, ctx)
        if number < 1:
            self.fail(f"a worker needs at least one slot, not {number}", param, ctx)
        return number


WORKER, POOL, QUEUE = "Worker Options", "Pool Options", "Queue Options"
FEATURES, BEAT, DAEMON = "Features", "Embedded Beat Options", "Daemonization Options"

# Celery's options that the engine does not need, or that a later version brings. Value: why nothing happens.
WITHOUT_EFFECT = {
    "statedb": "revokes are kept in the store",
    "optimization": "there is one way of handing out work",
    "task_events": "events come with a later version",
    "pool_start_method": "processes are forked, or spawned where forking is unsafe",
    "max_memory_per_child": "comes with a later version",
    "without_gossip": "there is no gossip to switch off",
    "without_mingle": "there is no mingle to switch off",
    "without_heartbeat": "there is no event heartbeat to switch off",
    "heartbeat_interval": "there is no event heartbeat",
    "autoscale": "comes with a later version; the pool keeps its size",
}


@click.command(cls=HeadedCommand, context_settings={"allow_extra_args": True})
@option(WORKER, "-n", "--hostname", metavar="HOSTNAME", help="Node name, such as 'w1@%h'. %h host, %n name, %d domain.")
@option(WORKER, "-D", "--detach", is_flag=True, help="Run in the background.")
@option(WORKER, "-S", "--statedb", metavar="PATH", help="Accepted; revokes are kept in the store.")
@option(WORKER, "-l", "--loglevel", type=LOG_LEVEL, default="WARNING", show_default=True, help="Logging level.")
@option(
    WORKER, "-O", "--optimization", type=click.Choice(["default", "fair", "fast", "fcfs"]), default="default", help="Accepted."
)
@option(
    WORKER,
    "--prefetch-multiplier",
    type=click.IntRange(min=0),
    help="Hard cap of what a slot holds; default: measured in time.",
)
@option(WORKER, "--disable-prefetch", is_flag=True, default=None, help="Hold nothing that is not about to run.")
@option(POOL, "-c", "--concurrency", type=Concurrency(), help="Number of slots, or 'auto'. Default: one per CPU.")
@option(POOL, "-P", "--pool", type=click.Choice(POOLS), help="How tasks run. Default: prefork (processes).")
@option(POOL, "-E", "--task-events", "--events", is_flag=True, default=None, help="Accepted; events come later.")
@option(POOL, "--time-limit", type=float, help="Hard time limit of every task, in seconds.")
@option(POOL, "--soft-time-limit", type=float, help="Soft time limit of every task, in seconds.")
@option(POOL, "--max-tasks-per-child", type=click.IntRange(min=1), help="Replace a process after so many tasks.")
@option(POOL, "--pool-start-method", type=click.Choice(["fork", "spawn"]), help="Accepted.")
@option(POOL, "--max-memory-per-child", type=int, help="Accepted; comes later.")
@option(QUEUE, "--purge", "--discard", is_flag=True, help="Drop what waits in the queues first.")
@option(QUEUE, "-Q", "--queues", type=COMMA_LIST, help="Queues to take from, comma separated. Default: all of task_queues.")
@option(QUEUE, "-X", "--exclude-queues", type=COMMA_LIST, help="Queues not to take from.")
@option(QUEUE, "-I", "--include", type=COMMA_LIST, help="Further modules to import.")
@option(FEATURES, "--without-gossip", is_flag=True, default=None, help="Accepted.")
@option(FEATURES, "--without-mingle", is_flag=True, default=None, help="Accepted.")
@option(FEATURES, "--without-heartbeat", is_flag=True, default=None, help="Accepted.")
@option(FEATURES, "--heartbeat-interval", type=int, help="Accepted.")
@option(FEATURES, "--autoscale", metavar="MAX,MIN", help="Accepted; comes later.")
@option(BEAT, "-B", "--beat", is_flag=True, help="Not in this version.")
@option(BEAT, "-s", "--schedule-filename", "--schedule", help="Not in this version.")
@option(BEAT, "--scheduler", help="Not in this version.")
@option(DAEMON, "-f", "--logfile", help="Log to this file; default: stderr.")
@option(DAEMON, "--pidfile", help="Write the process id to this file; refuse to start when it is taken.")
@option(DAEMON, "--uid", help="Run as this user.")
@option(DAEMON, "--gid", help="Run as this group.")
@option(DAEMON, "--umask", help="Octal umask.")
@option(DAEMON, "--executable", help="Accepted.")
@click.pass_context
def worker(ctx: click.Context, /, **options: Any) -> None:
    """Start a worker.

    \b
    sedano -A proj worker -l info
    sedano -A proj worker -l info -Q feeds,mail -c 4
    sedano -A proj worker -- task_default_rate_limit=10/m worker_lease_time=30
    """
    from sedano.worker.node import start_worker  # noqa: PLC0415 - `worker --help` does not need the engine
    from sedano.worker.plan import WorkerOptions  # noqa: PLC0415

    context = ctx.ensure_object(CliContext)
    refuse_what_would_be_missed(options)
    warnings.simplefilter("ignore", UnknownSettingWarning)  # the worker logs all of these at its start
    app = context.app
    if context.app_name is None:
        context.note(
            "No app is given: this worker knows no task of yours. Name the module that holds your app: sedano -A proj worker"
        )
    settings = read_words(ctx.args, "worker")
    app.conf.update(settings)
    ignored = {
        name: reason for name, reason in WITHOUT_EFFECT.items() if options.pop(name, None) not in (None, False, "default")
    }
    chosen = {name: options[name] for name in WorkerOptions.__slots__ if name in options and options[name] is not None}
    if not context.quiet:
        for name, reason in ignored.items():
            click.echo(f"--{name.replace('_', '-')} has no effect: {reason}", err=True)
    for name in ("queues", "exclude_queues", "include"):
        if name in chosen:
            chosen[name] = tuple(chosen[name])
    color = None if context.color else False
    code = start_worker(
        app, WorkerOptions(**chosen, settings=settings, app_name=context.app_name, color=color, quiet=context.quiet)
    )
    sys.stdout.flush()
    ctx.exit(code)


def refuse_what_would_be_missed(options: dict[str, Any]) -> None:
    """Refuse options whose silence would cost somebody their work."""
    if options.pop("beat") or options.pop("schedule_filename") or options.pop("scheduler"):
        raise click.UsageError(
            "this version has no beat: periodic tasks would silently not run. Run Celery's beat beside this worker for now."
        )
    for name in ("detach", "uid", "gid", "umask", "executable"):
        if options.pop(name):
            raise click.UsageError(
                f"--{name} is not in this version: let a service manager (systemd, supervisord, a container) do it."
            )

"""`sedano beat`, with Celery's options."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import click

from sedano.cli import daemon
from sedano.cli.context import CliContext
from sedano.cli.extrawords import read_extra_words
from sedano.cli.headed import HeadedCommand, option
from sedano.cli.types import LOG_LEVEL
from sedano.cli.useroptions import values_of

BEAT, DAEMON = "Beat Options", "Daemonization Options"
EX_CANTCREAT = 73


@click.command(cls=HeadedCommand, context_settings={"allow_extra_args": True})
@option(BEAT, "--detach", is_flag=True, help="Run in the background; returns when beat has started.")
@option(BEAT, "-s", "--schedule", metavar="PATH", help="The file that remembers what was sent. Default: celerybeat-schedule.")
@option(BEAT, "-S", "--scheduler", metavar="CLASS", help="The scheduler: module:Class, or the name of an installed one.")
@option(BEAT, "--max-interval", type=click.FloatRange(min=0, min_open=True), help="Seconds to sleep at most between two looks.")
@option(
    BEAT,
    "--enable-remote-control/--no-enable-remote-control",
    "remote_control",
    default=None,
    help="Answer `inspect ping`, for probes. Default: the setting beat_enable_remote_control.",
)
@option(BEAT, "-n", "--hostname", metavar="HOSTNAME", help="Node name to answer as. Default: celerybeat@%h.")
@option(BEAT, "-l", "--loglevel", type=LOG_LEVEL, default="WARNING", show_default=True, help="Logging level.")
@option(DAEMON, "-f", "--logfile", help="Log to this file. Default: stderr.")
@option(DAEMON, "--pidfile", help="Write the process id to this file; refuse to start when it is taken.")
@option(DAEMON, "--uid", help="Run as this user, by name or number.")
@option(DAEMON, "--gid", help="Run as this group, by name or number. Default: the user's.")
@option(DAEMON, "--umask", help="File mode mask, octal with a leading 0.")
@option(DAEMON, "--executable", help="Accepted.")
@click.pass_context
def beat(ctx: click.Context, /, **options: Any) -> None:
    """Start the scheduler, which sends tasks when they are due.

    \b
    sedano -A proj beat -l info
    sedano -A proj beat -l info -s /var/lib/proj/schedule
    sedano -A proj beat --scheduler django_celery_beat.schedulers:DatabaseScheduler
    """
    context = ctx.ensure_object(CliContext)
    detached = daemon.detach() if options.pop("detach") else None
    try:
        code = _run(ctx, context, options, detached)
    except BaseException as error:
        if detached is not None:
            detached.failed(getattr(error, "exit_code", getattr(error, "code", None) or 1))
            if detached.settled and not isinstance(error, SystemExit):  # there is no terminal to say it at
                logging.getLogger("celery.beat").critical("Beat ends: %s", error)
        raise
    if detached is not None:
        detached.failed(code)
    ctx.exit(code)


def _run(ctx: click.Context, context: CliContext, options: Mapping[str, Any], detached: daemon.Detached | None) -> int:
    from sedano.app.pidfile import PidfileInUse  # noqa: PLC0415 - `beat --help` does not need it

    app = context.app
    if context.app_name is None:
        context.note("No app is given: this beat has no schedule of yours. Name the module of your app: sedano -A proj beat")
    users = values_of(ctx, app, "beat")
    app.conf.update(read_extra_words(ctx, "beat"))
    chosen = {name: options[name] or app.conf.typed(f"beat_{name}") for name in ("logfile", "pidfile", "uid", "gid", "umask")}
    if detached is not None and not chosen["logfile"]:
        context.note("--detach without --logfile: what this beat logs is lost")
    if options["executable"] is not None:
        context.note("--executable has no effect: a detached program goes on in the Python that it was started with")
    if chosen["umask"] not in (None, ""):
        daemon.set_umask(chosen["umask"])
    daemon.become(chosen["uid"] or None, chosen["gid"] or None)
    names = ("schedule", "scheduler", "max_interval", "remote_control", "hostname", "loglevel")
    program = app.Beat(
        **{name: options[name] for name in names},
        **users,
        logfile=chosen["logfile"],
        pidfile=chosen["pidfile"],
        quiet=context.quiet,
        no_color=None if context.color else True,
        settled=None if detached is None else detached.settle,
    )
    try:
        program.run()
    except PidfileInUse as error:
        click.echo(f"ERROR: {error}", err=True)
        return EX_CANTCREAT
    return 0

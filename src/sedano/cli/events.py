"""`sedano events`: follow what the cluster announces, as lines of text or with a camera of one's own."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from sedano.cli import daemon
from sedano.cli.context import CliContext
from sedano.cli.headed import HeadedCommand, option
from sedano.cli.jsontext import document_text
from sedano.cli.types import LOG_LEVEL

if TYPE_CHECKING:
    from sedano.app.base import Celery

DUMPER, SNAPSHOT, DAEMON = "Dumper", "Snapshot", "Daemonization Options"
NO_SCREEN = (
    "the screen of `events` comes with the monitor, in a later version. To follow the events as lines of text: sedano events"
    " --dump; with a camera: sedano events -c module.Camera"
)


@click.command(cls=HeadedCommand)
@option(DUMPER, "--dump", is_flag=True, help="Write every event as a line of text. -d alone is this too.")
@option(DUMPER, "-j", "--json", "as_json", is_flag=True, help="As --dump, each event as one JSON object on a line.")
@option(SNAPSHOT, "-c", "--camera", metavar="CLASS", help="Take snapshots with this class: module.Camera.")
@option(
    SNAPSHOT, "-d", "short", is_flag=True, help="Beside --camera: --detach. Otherwise: --dump. Celery has the letter for both."
)
@option(SNAPSHOT, "--detach", is_flag=True, help="Run in the background.")
@option(
    SNAPSHOT, "-F", "--frequency", "--freq", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True,
    help="Seconds between snapshots.",
)  # fmt: skip
@option(SNAPSHOT, "-r", "--maxrate", metavar="RATE", help="At most so many snapshots: 10/m, or a number a second.")
@option(SNAPSHOT, "-l", "--loglevel", type=LOG_LEVEL, default="WARNING", show_default=True, help="Logging level.")
@option(DAEMON, "-f", "--logfile", help="Log to this file. Default: stderr.")
@option(DAEMON, "--pidfile", help="Write the process id to this file; refuse to start when it is taken.")
@option(DAEMON, "--uid", help="Run as this user, by name or number.")
@option(DAEMON, "--gid", help="Run as this group, by name or number. Default: the user's.")
@option(DAEMON, "--umask", help="File mode mask, octal with a leading 0.")
@option(DAEMON, "--executable", help="Accepted.")
@click.pass_context
def events(ctx: click.Context, /, **options: Any) -> None:
    """Follow the events of the cluster.

    \b
    sedano -A proj events --dump
    sedano -A proj events --json
    sedano -A proj events -c proj.camera.Camera --frequency 2.0
    """
    context = ctx.ensure_object(CliContext)
    camera, is_short = options["camera"], options.pop("short")
    if not camera and not options["dump"] and not options["as_json"] and not is_short:
        raise click.ClickException(NO_SCREEN)
    if camera and options["as_json"] and not options["dump"]:
        raise click.UsageError("--json belongs to --dump: what a camera writes is its own affair", ctx)
    is_dump = options["dump"] or not camera
    is_detached = options["detach"] or (is_short and bool(camera) and not options["dump"])
    detached = daemon.detach() if is_detached else None
    try:
        _run(ctx, context, options, detached, is_dump=is_dump)
    except BaseException as error:
        if detached is not None:
            detached.failed(getattr(error, "exit_code", getattr(error, "code", None) or 1))
            if detached.settled and not isinstance(error, SystemExit):  # there is no terminal to say it at
                logging.getLogger("celery.evcam").critical("The camera ends: %s", error)
        raise


def _run(
    ctx: click.Context, context: CliContext, options: dict[str, Any], detached: daemon.Detached | None, *, is_dump: bool
) -> None:
    app = context.app
    chosen = {name: options[name] or app.conf.typed(f"events_{name}") for name in ("logfile", "pidfile", "uid", "gid", "umask")}
    if chosen["umask"] not in (None, ""):
        daemon.set_umask(chosen["umask"])
    run = _program(ctx, app, options, chosen["logfile"], is_dump=is_dump)
    daemon.become(chosen["uid"] or None, chosen["gid"] or None)
    settled = None if detached is None else detached.settle
    with _pidfile(chosen["pidfile"]), _ended_by_sigterm():
        run(settled=settled)


def _program(
    ctx: click.Context, app: Celery, options: Mapping[str, Any], logfile: str | None, *, is_dump: bool
) -> Callable[..., None]:
    """What runs, with all that it will import: another user may not be able to read it."""
    from sedano.app.connect import load_driver  # noqa: PLC0415 - `events --help` does not need any of it

    load_driver(app.stores.broker_url)
    for door in (app.control, app.events.State, app.events.Receiver):
        assert door is not None
    if is_dump:
        from sedano.events.dumper import evdump  # noqa: PLC0415

        if not options["as_json"]:
            return functools.partial(evdump, app)
        context = ctx.ensure_object(CliContext)
        return functools.partial(evdump, app, write=_print_document, say=context.note)
    from sedano.events.snapshot import evcam  # noqa: PLC0415

    assert app.log is not None
    _check(options["camera"], options["maxrate"], ctx)
    chosen = {name: options[name] for name in ("maxrate", "loglevel")}
    return functools.partial(evcam, options["camera"], freq=options["frequency"], logfile=logfile, app=app, **chosen)


def _print_document(event: Mapping[str, Any]) -> None:
    print(document_text(event), flush=True)


def _check(camera: str, maxrate: str | None, ctx: click.Context) -> None:
    """Import the camera, which may stand in the current directory, and read the rate: what is wrong is a usage error."""
    from sedano.app.finding import symbol_by_name  # noqa: PLC0415
    from sedano.rules.rates import read_rate  # noqa: PLC0415

    try:
        read_rate(maxrate)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param_hint="'-r' / '--maxrate'") from None
    try:
        symbol_by_name(camera)
    except (AttributeError, ModuleNotFoundError) as error:
        raise click.BadParameter(
            f"{camera!r} leads to no class ({error}): give the module and the class, such as camera.DumpCamera",
            ctx,
            param_hint="'-c' / '--camera'",
        ) from error


@contextlib.contextmanager
def _pidfile(path: str | None) -> Generator[None]:
    if not path:
        yield
        return
    from sedano.app.pidfile import Pidfile  # noqa: PLC0415

    pidfile = Pidfile(os.path.abspath(path))
    pidfile.acquire()
    try:
        yield
    finally:
        pidfile.release()


@contextlib.contextmanager
def _ended_by_sigterm() -> Generator[None]:
    """SIGTERM ends it in good order: with the last snapshot, and without a pidfile."""

    def leave(*_: Any) -> NoReturn:
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

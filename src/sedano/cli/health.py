"""`sedano health`: does a worker take calls? For probes of containers and for scripts, by the exit code."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NoReturn

import click

from sedano.app.nodenames import node_name
from sedano.cli import probe
from sedano.cli.completing import complete_nodes
from sedano.cli.context import CliContext
from sedano.exceptions import ImproperlyConfigured


@click.command()
@click.option(
    "-d",
    "--destination",
    metavar="NODE",
    shell_complete=complete_nodes,
    help="The worker's name. Default: celery@ and this host's name.",
)
@click.option(
    "-t",
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=probe.TIMEOUT_S,
    show_default=True,
    help="Seconds to wait for the answer.",
)
@click.option("--http", metavar="HOST:PORT", help="Ask the worker's port (worker --http) instead of the broker; or unix:PATH.")
@click.option("--live", is_flag=True, help="With --http: tell only whether it should be started again.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def health(ctx: click.Context, destination: str | None, timeout: float, http: str | None, live: bool, as_json: bool) -> None:
    """Tell whether a worker takes calls: it is asked over the broker, on whatever machine it runs, or at its HTTP port.

    Exit code 0: it does. 1: it answers that it does not, and why. 69: it does not answer, or the broker cannot be reached.

    \b
    sedano -b redis://redis/0 health
    sedano -A proj health -d mail@web1
    sedano health --http unix:/run/sedano/worker.sock --live
    """
    context = ctx.ensure_object(CliContext)
    if live and http is None:
        raise click.UsageError("--live needs --http: that a broker is away is no reason to start a worker again", ctx)
    if http is not None:
        ready, reason = _ask_port(http, live=live, timeout_s=timeout)
        _tell(ctx, context, http, ready, reason, as_json=as_json)
    try:
        node = node_name(destination)
    except ImproperlyConfigured as exc:
        raise click.BadParameter(str(exc), param_hint="'-d' / '--destination'") from exc
    answer, why = _ask(context, node, timeout)
    ready, reason = (None, why) if answer is None else probe.read(answer)
    _tell(ctx, context, node, ready, reason, as_json=as_json)


def _tell(ctx: click.Context, context: CliContext, node: str, ready: bool | None, reason: str, *, as_json: bool) -> NoReturn:
    if as_json:
        context.document({"node": node, "ready": ready, "reason": reason})
    else:
        click.echo(probe.sentence(node, ready, reason), err=ready is None)
    ctx.exit(probe.exit_code(ready))


def _ask_port(address: str, *, live: bool, timeout_s: float) -> tuple[bool | None, str]:
    try:
        return probe.ask_port(address, live=live, timeout_s=timeout_s)
    except ImproperlyConfigured as exc:
        raise click.BadParameter(str(exc), param_hint="'--http'") from exc


def _ask(context: CliContext, node: str, timeout_s: float) -> tuple[Any, str]:
    """Where the command line or the environment names the broker, or no app is given: without the app, whose modules are slow
    to import."""
    answer, why = None, ""
    if context.app_name is None or (os.environ.get("CELERY_BROKER_URL") and not context.asked_in_vain):  # where -b is, too
        answer, why = _asked(lambda: probe.ask_without_app(node, timeout_s))
    if answer is None and context.app_name is not None:  # its settings may say where and how to ask
        app = context.app
        answer, why = _asked(lambda: probe.ask(app, node, timeout_s))
    return answer, why


def _asked(ask: Callable[[], tuple[Any, str]]) -> tuple[Any, str]:
    try:
        return ask()
    except ImproperlyConfigured as exc:
        raise click.UsageError(str(exc)) from exc

"""What a shell may offer for a word that is not typed yet: names of tasks, queues, nodes. Never an error.

Only names of nodes take a connection: the nodes are asked, which answer at once, and a broker that says nothing is left after
`_PATIENCE_S`. Nothing is written: a store that is not there yet is not made.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

import click
from click.shell_completion import CompletionItem

from sedano.app.bare import BareApp
from sedano.app.panel import Panel
from sedano.cli.context import CliContext

if TYPE_CHECKING:
    from sedano.app.base import Celery

T = TypeVar("T")
_PATIENCE_S, _ANSWERS_S = 1.0, 0.3


def complete_tasks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the app's tasks."""
    del param
    names = _ask(ctx, _task_names)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_queues(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the queues that the app declares; the last one of a comma separated list."""
    del param
    return _next_of_list(incomplete, _ask(ctx, lambda app: list(app.amqp.queues)))


def complete_nodes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the nodes that answer, Celery's among them; the last one of a comma separated list."""
    del param
    broker = ctx.find_root().params.get("broker")
    if broker:
        os.environ["CELERY_BROKER_URL"] = broker  # as the command does; this process lives for these words only
    names = _ask(ctx, _nodes) if _app_name(ctx) else _nodes_of_broker()
    return _next_of_list(incomplete, names)


def complete_commands(kind: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Names of the remote control commands of a kind, the app's own among them."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del param
        _ask(ctx, _task_names)  # whose modules may bring commands
        known = [
            info for info in Panel.meta.values() if info.type == kind and info.visible and info.name.startswith(incomplete)
        ]
        return [CompletionItem(info.name, help=info.help) for info in sorted(known, key=lambda info: info.name)]

    return complete


def _task_names(app: Celery) -> list[str]:
    app.loader.import_default_modules()
    app.finalize()
    return [name for name in app.tasks if not name.startswith("celery.")]


def _next_of_list(incomplete: str, names: list[str]) -> list[CompletionItem]:
    before, comma, word = incomplete.rpartition(",")
    taken = before.split(",")
    return [CompletionItem(f"{before}{comma}{name}") for name in names if name.startswith(word) and name not in taken]


def _nodes_of_broker() -> list[str]:
    """Where no app is named."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception):
        return sorted(_nodes(BareApp()))
    return []


def _nodes(app: Celery | BareApp) -> list[str]:
    """In a thread that nobody waits for: a broker may take a connection and say nothing."""
    url = app.stores.broker_url
    if url.startswith("sqlite:") and not Path(unquote(urlsplit(url).path.removeprefix("/"))).exists():
        return []
    found: list[str] = []

    def ask() -> None:
        with contextlib.suppress(Exception):
            replies = app.control.broadcast("ping", reply=True, timeout=_ANSWERS_S) or []
            found.extend(name for reply in replies for name in reply)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    return list(found)


def _ask(ctx: click.Context, question: Callable[[Celery], list[str]]) -> list[str]:
    nothing: list[str] = []
    return sorted(ask_app(ctx, question, nothing))


def _app_name(ctx: click.Context) -> str | None:
    return ctx.find_root().params.get("app") or os.environ.get("CELERY_APP") or os.environ.get("APP")


def ask_app(ctx: click.Context, question: Callable[[Celery], T], otherwise: T) -> T:
    """What the app of `-A` says; `otherwise` without one, and when it cannot be loaded."""
    given = ctx.find_root().params
    name = _app_name(ctx)
    if not name:
        return otherwise
    context = CliContext(app_name=name, quiet=True, color=False, alias=not given.get("no_alias"), debug=False)
    # Whatever the user's modules print when they are imported must not become a completion.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception):
        if given.get("workdir"):
            os.chdir(given["workdir"])
        return question(context.app)
    return otherwise

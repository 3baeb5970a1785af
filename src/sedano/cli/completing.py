"""What a shell may offer for a word that is not typed yet: task names, queue names. Never an error, never a connection."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click
from click.shell_completion import CompletionItem

from sedano.app.panel import Panel
from sedano.cli.context import CliContext

if TYPE_CHECKING:
    from sedano.app.base import Celery

T = TypeVar("T")


def complete_tasks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the app's tasks."""
    del param
    names = _ask(ctx, _task_names)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_queues(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the queues that the app declares; the last one of a comma separated list."""
    del param
    before, comma, word = incomplete.rpartition(",")
    taken = before.split(",")
    names = [name for name in _ask(ctx, lambda app: list(app.amqp.queues)) if name not in taken]
    return [CompletionItem(f"{before}{comma}{name}") for name in names if name.startswith(word)]


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


def _ask(ctx: click.Context, question: Callable[[Celery], list[str]]) -> list[str]:
    nothing: list[str] = []
    return sorted(ask_app(ctx, question, nothing))


def ask_app(ctx: click.Context, question: Callable[[Celery], T], otherwise: T) -> T:
    """What the app of `-A` says; `otherwise` without one, and when it cannot be loaded."""
    given = ctx.find_root().params
    name = given.get("app") or os.environ.get("CELERY_APP") or os.environ.get("APP")
    if not name:
        return otherwise
    context = CliContext(app_name=name, quiet=True, color=False, alias=not given.get("no_alias"), debug=False)
    # Whatever the user's modules print when they are imported must not become a completion.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception):
        if given.get("workdir"):
            os.chdir(given["workdir"])
        return question(context.app)
    return otherwise

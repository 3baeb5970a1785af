"""Options under headings, as Celery's help pages show them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from sedano.cli.context import CliContext

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Headed(click.Option):
    """An option under a heading of the help page."""

    def __init__(self, *args: Any, heading: str, **kwargs: Any) -> None:
        self.heading = heading
        super().__init__(*args, **kwargs)


class HeadedCommand(click.Command):
    """Groups its options by their headings, in the order in which the headings first come.

    The app may add options of its own (`app.user_options`, Celery's way): they are looked for when a word is no option of ours,
    so that an app is loaded for its options only where somebody uses them.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, list(args))
        except click.NoSuchOption:
            context = ctx.find_object(CliContext)
            known = {param.name for param in self.params}
            added = users_options(context, self.name or "") if context is not None else []
            more = [param for param in added if param.name not in known]
            if not more:
                raise
            self.params.extend(more)
            return super().parse_args(ctx, list(args))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(param, "heading", "Options"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def option(heading: str, *names: str, **attributes: Any) -> Callable[[Decorated], Decorated]:
    return click.option(*names, cls=Headed, heading=heading, **attributes)


def users_options(context: CliContext, command: str) -> list[click.Option]:
    """What the app adds to this command and, as "preload", to all; nothing without an app."""
    if context.app_name is None:
        return []
    added = context.app.user_options
    return [param for kind in ("preload", command) for param in added[kind] if isinstance(param, click.Option)]

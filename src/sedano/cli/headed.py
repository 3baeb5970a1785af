"""Options under headings, as Celery's help pages show them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Headed(click.Option):
    """An option under a heading of the help page."""

    def __init__(self, *args: Any, heading: str, **kwargs: Any) -> None:
        self.heading = heading
        super().__init__(*args, **kwargs)


class HeadedCommand(click.Command):
    """Groups its options by their headings, in the order in which the headings first come."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(
                    getattr(param, "heading", None) or getattr(param, "help_group", None) or "Options", []
                ).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def option(heading: str, *names: str, **attributes: Any) -> Callable[[Decorated], Decorated]:
    return click.option(*names, cls=Headed, heading=heading, **attributes)

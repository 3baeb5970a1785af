"""What every command is given: how to find the app, and how to print."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from sedano.cli.celerywords import CeleryWords
from sedano.cli.jsontext import document_text

if TYPE_CHECKING:
    from sedano.app.base import Celery


@dataclass(slots=True)
class CliContext(CeleryWords):
    """`app_name` is what `-A` said, None when it was not given; `started_in` the directory before `--workdir`;
    `asked_in_vain`: without the app, by `quickhealth`."""

    app_name: str | None
    quiet: bool
    color: bool
    alias: bool
    debug: bool
    started_in: str = ""
    asked_in_vain: bool = False
    _app: Celery | None = None

    @property
    def app(self) -> Celery:
        """The app named by `-A`, or a plain one with the settings of the environment. Found once.

        Raises click.UsageError when the module or the app in it cannot be found; an error inside the user's module is
        shown with its trace, because the user must mend that module.
        """
        if self._app is None:
            from sedano.cli.apps import find  # noqa: PLC0415 - `--help` does not need the app

            self._app = find(self)
            from sedano.cli.useroptions import tell_now  # noqa: PLC0415 - each knows the other

            tell_now(self._app)
        return self._app

    @property
    def has_app(self) -> bool:
        """Whether the app is loaded already."""
        return self._app is not None

    @property
    def no_color(self) -> bool:
        return not self.color

    @property
    def workdir(self) -> str:
        return os.getcwd()

    # -- output ---------------------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Words for people: stderr, unless quiet."""
        if not self.quiet:
            click.echo(text, err=True)

    def document(self, value: Any) -> None:
        """Exactly one JSON document on stdout. What JSON cannot say is said as text, NaN and infinity as null."""
        click.echo(document_text(value))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[str] = ()) -> None:
        """A table with borders on a terminal; tab-separated without truncation or colour elsewhere."""
        shown = [["" if cell is None else str(cell) for cell in row] for row in rows]
        if not sys.stdout.isatty():
            for row in (columns, *shown):
                click.echo("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
            return
        from rich.console import Console  # noqa: PLC0415 - slow to import, wanted on a terminal only
        from rich.table import Table  # noqa: PLC0415

        table = Table()
        for column in columns:
            table.add_column(column, justify="right" if column in right else "left", overflow="fold")
        for row in shown:
            table.add_row(*row)
        Console(no_color=not self.color).print(table)


pass_context = click.make_pass_decorator(CliContext)

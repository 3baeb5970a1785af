"""A bar for long work at a terminal; nothing where nobody looks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sedano.cli.context import CliContext


@contextlib.contextmanager
def progress(context: CliContext, what: str, total: int) -> Generator[Callable[[int], None]]:
    """Gives a function to be told how much more is done. The bar is on stderr, which leaves stdout to the answer."""
    if context.quiet or total <= 1 or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - slow to import, wanted on a terminal only
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True, no_color=not context.color)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)

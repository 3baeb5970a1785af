"""Settings that stand behind `--` on the command line: `sedano worker -- worker_lease_time=30`."""

from __future__ import annotations

from typing import Any

import click

from sedano.settings import read_words


def read_extra_words(ctx: click.Context, namespace: str) -> dict[str, Any]:
    """A word without `=` is most often the rest of a list that was typed with spaces: a usage error."""
    for word in ctx.args:
        if "=" not in word:
            raise click.UsageError(
                f"Unable to parse extra configuration from command line.\nReason: {word!r} is no key=value; lists such as"
                " -Q are written with commas and without spaces",
                ctx,
            )
    return read_words(ctx.args, namespace)

"""What Celery's context object does for commands of other packages: `ctx.obj.echo`, `.style`, `.pretty`, `.OK`, ..."""

from __future__ import annotations

import json
from pprint import pformat
from typing import Any

import click


class CeleryWords:
    """To be mixed into something with `no_color` and `quiet`."""

    __slots__ = ()

    @property
    def OK(self) -> str:  # noqa: N802 - Celery's name
        return self.style("OK", fg="green", bold=True)

    @property
    def ERROR(self) -> str:  # noqa: N802
        return self.style("ERROR", fg="red", bold=True)

    def style(self, message: Any = None, **kwargs: Any) -> str:
        """The text in colour, unless colours are off."""
        return str(message) if self._plain else click.style(message, **kwargs)

    def secho(self, message: Any = None, **kwargs: Any) -> None:
        """Print in colour."""
        if self._plain:
            click.echo(message, kwargs.get("file"), kwargs.get("nl", True), kwargs.get("err", False), color=False)
        else:
            click.secho(message, **kwargs)

    def echo(self, message: Any = None, **kwargs: Any) -> None:
        """Print."""
        if self._plain:
            kwargs["color"] = False
        click.echo(message, **kwargs)

    def error(self, message: Any = None, **kwargs: Any) -> None:
        """Print on stderr."""
        self.secho(message, **{**kwargs, "err": True})

    def pretty(self, n: Any) -> tuple[str, str]:
        """(OK or ERROR, the answer of a node as text for people)."""
        if isinstance(n, list):
            return self.OK, self.pretty_list(n)
        if isinstance(n, dict):
            if "ok" in n or "error" in n:
                return self.pretty_dict_ok_error(n)
            return self.OK, json.dumps(n, sort_keys=True, indent=4, default=str)
        return self.OK, n if isinstance(n, str) else pformat(n)

    def pretty_list(self, n: list[Any]) -> str:
        """A line with a star for each item."""
        return "\n".join(f"{self.style('*', fg='white')} {item}" for item in n) or "- empty -"

    def pretty_dict_ok_error(self, n: dict[str, Any]) -> tuple[str, str]:
        """As `pretty`, for `{"ok": ...}` and `{"error": ...}`."""
        word, value = (self.OK, n["ok"]) if "ok" in n else (self.ERROR, n["error"])
        return word, "\n".join(f"    {line}" for line in self.pretty(value)[1].splitlines())

    def say_chat(self, direction: str, title: str, body: Any = "", show_body: bool = False) -> None:
        """`->  title`, and the body below it."""
        quiet = bool(getattr(self, "quiet", False))
        if direction == "<-" and quiet:
            return
        arrow = "" if quiet else f"{self.style(direction, fg='white', bold=True)} "
        self.echo(f"{arrow} {title}")
        if body and show_body:
            self.echo(body)

    @property
    def _plain(self) -> bool:
        return bool(getattr(self, "no_color", False))

"""`sedano init DIR`: the files of a small project that runs. They lie in `projects/`, a folder for each kind, as `*.tpl`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from sedano.cli.context import CliContext, pass_context

KINDS = ("plain", "fastapi", "flask", "django")
_SUFFIX = ".tpl"


@click.command()
@click.option("--plain", "kind", flag_value="plain", default=True, help="Tasks and a script that calls them (default).")
@click.option("--fastapi", "kind", flag_value="fastapi", help="A FastAPI application that sends calls.")
@click.option("--flask", "kind", flag_value="flask", help="A Flask application that sends calls.")
@click.option("--django", "kind", flag_value="django", help="A Django project with one app.")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@pass_context
def init(context: CliContext, kind: str | None, folder: Path) -> None:
    """Write a small project that runs, with a test and a README, into DIR. Nothing that is there is overwritten."""
    written = render(kind or "plain", name_of(folder))
    present = sorted(path for path in written if (folder / path).exists())
    if present:
        raise click.ClickException(f"nothing is written: {folder} has {', '.join(present)} already")
    for path, text in written.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    for path in sorted(written):
        click.echo(folder / path)
    context.note(f"Read {folder / 'README.md'}: how to run it.")


def name_of(folder: Path) -> str:
    """The project's name: the folder's, as far as names of projects may look like it."""
    return re.sub(r"[^A-Za-z0-9]+", "-", folder.resolve().name).strip("-").lower() or "project"


def render(kind: str, name: str) -> Mapping[str, str]:
    """Path in the project -> text, for a project of this kind and name."""
    root = files("sedano.cli") / "projects"
    found: dict[str, str] = {}
    for folder in (root / "shared", root / kind):
        _collect(folder, "", found)
    return {path: text.replace("{{name}}", name) for path, text in found.items()}


def _collect(folder: Traversable, prefix: str, found: dict[str, str]) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            _collect(entry, f"{prefix}{entry.name}/", found)
        elif entry.name.endswith(_SUFFIX):
            # `dot.x` is `.x`: tools that pack a wheel leave hidden files out.
            name = entry.name.removesuffix(_SUFFIX)
            name = f".{name.removeprefix('dot.')}" if name.startswith("dot.") else name
            found[f"{prefix}{name}"] = entry.read_text(encoding="utf-8")

"""`sedano shell`: a Python prompt that knows the app."""

from __future__ import annotations

import code
import importlib
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

import sedano
from sedano.cli.context import CliContext, pass_context

if TYPE_CHECKING:
    from sedano.app.base import Celery

WORDS = ("Task", "chain", "chord", "chunks", "group", "signature", "subtask", "xmap", "xstarmap")
GREEN = {"eventlet": ("eventlet", "monkey_patch"), "gevent": ("gevent.monkey", "patch_all")}


@click.command()
@click.option("-I", "--ipython", "prompt", flag_value="ipython", help="Use IPython.")
@click.option("-B", "--bpython", "prompt", flag_value="bpython", help="Use bpython.")
@click.option("--python", "prompt", flag_value="python", help="Use Python's own prompt.")
@click.option("-T", "--without-tasks", is_flag=True, help="Leave the tasks' names out.")
@click.option("--eventlet", "green", flag_value="eventlet", help="Patch with eventlet first.")
@click.option("--gevent", "green", flag_value="gevent", help="Patch with gevent first.")
@pass_context
def shell(context: CliContext, prompt: str | None, without_tasks: bool, green: str | None) -> None:
    """Start a Python shell with the app, its tasks and the workflow words.

    The best prompt that is installed is taken: IPython, bpython, or Python's own. These names are known: `app` and `celery`
    (the app), `tasks` (all of them by name), chain, group, chord, chunks, xmap, xstarmap, signature, subtask, Task, and each
    task under its function's name.
    """
    if green is not None:
        module, patch = GREEN[green]
        getattr(importlib.import_module(module), patch)()
    names = names_of(context.app, with_tasks=not without_tasks)
    chosen = prompt or next((name for name in PROMPTS if _is_installed(name)), "python")
    if not _is_installed(chosen):
        raise click.ClickException(f"{chosen} is not installed: pip install {chosen}, or leave the option out")
    PROMPTS[chosen](names, f"Sedano {sedano.__version__}: {', '.join(sorted(names))}")


def names_of(app: Celery, *, with_tasks: bool = True) -> dict[str, Any]:
    """What the prompt knows. A word of the workflow language wins over a task of that name."""
    app.loader.import_default_modules()
    app.finalize()
    tasks = {task.__name__: task for name, task in app.tasks.items() if not name.startswith("celery.")} if with_tasks else {}
    return {**tasks, **{word: getattr(sedano, word) for word in WORDS}, "app": app, "celery": app, "tasks": app.tasks}


def _is_installed(prompt: str) -> bool:
    return prompt == "python" or importlib.util.find_spec({"ipython": "IPython"}.get(prompt, prompt)) is not None


def _run_ipython(names: dict[str, Any], banner: str) -> None:
    ipython = importlib.import_module("IPython")
    click.echo(banner)
    ipython.start_ipython(argv=[], user_ns=names)


def _run_bpython(names: dict[str, Any], banner: str) -> None:
    importlib.import_module("bpython").embed(names, banner=banner)


def _run_python(names: dict[str, Any], banner: str) -> None:
    try:
        readline: Any = importlib.import_module("readline")
        completer = importlib.import_module("rlcompleter").Completer(names)
    except ImportError:  # not on Windows
        pass
    else:
        readline.set_completer(completer.complete)
        readline.parse_and_bind("tab: complete")
    code.interact(banner, local=names, exitmsg="")


PROMPTS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "ipython": _run_ipython,
    "bpython": _run_bpython,
    "python": _run_python,
}

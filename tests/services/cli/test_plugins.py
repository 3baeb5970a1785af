"""Commands that other packages bring, and options that apps add."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import PROJECT, Shell, make_project

PLUGIN = '''
import click
from celery.bin.base import COMMA_SEPARATED_LIST, CeleryCommand, CeleryOption, handle_preload_options
print("imported")

@click.command(cls=CeleryCommand)
@click.option("--names", cls=CeleryOption, help_group="Its Options", type=COMMA_SEPARATED_LIST)
@click.argument("rest", nargs=-1)
@click.pass_context
@handle_preload_options
def greet(ctx, names, rest):
    """Greets."""
    ctx.obj.echo(f"hello {names} from {ctx.obj.app.main}, {ctx.obj.no_color} {rest}")

@click.command()
@click.pass_obj
def show(obj, **options):
    """Shows."""
    print("options", options, obj.OK)
'''
OPTIONS = (
    PROJECT
    + """
import click
from celery import signals

app.user_options["preload"].add(click.Option(["-Z", "--site"], default="here", help="The site."))
app.user_options["worker"].add(click.Option(["--colour"]))

@signals.user_preload_options.connect
def preload(sender, app, options, **_):
    print("preload", sender.__name__, app.main, options, flush=True)
"""
)


def installed(folder: Path, group: str, **entries: str) -> None:
    """As if a package with these entry points were installed."""
    info = folder / f"{group.replace('.', '_')}_brought-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {group}-brought\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items()))


@pytest.fixture
def plugged(tmp_path: Path) -> Shell:
    installed(tmp_path, "celery.commands", greet="plugin:greet", broken="nowhere:command", queues="plugin:greet")
    installed(tmp_path, "sedano.commands", show="plugin:show", number="plugin:__name__")
    return make_project(tmp_path, {"proj.py": OPTIONS, "plugin.py": PLUGIN})


def test_a_plugin_is_a_command_that_knows_the_app(plugged: Shell) -> None:
    done = plugged("greet", "--names", "a,b", "more")

    assert done.returncode == 0, done.stderr
    assert "hello ['a', 'b'] from proj, False ('more',)" in done.stdout
    assert plugged("queues").returncode == 0  # ours stays ours


def test_a_broken_plugin_is_named_and_the_others_work(plugged: Shell) -> None:
    page = plugged("--help")
    assert page.returncode == 0
    assert re.search(r"greet +Greets\.", page.stdout)
    assert re.search(r"show +Shows\.", page.stdout)
    assert "Warning: cannot be loaded (ModuleNotFoundError: No module named 'nowhere')" in re.sub(r"\s+", " ", page.stdout)
    assert "is no click command" in re.sub(r"\s+", " ", page.stdout)

    used = plugged("broken", "--any", "thing")
    assert used.returncode == 1
    assert "Error: the plugin 'broken' of celery.commands-brought (nowhere:command) cannot be loaded" in used.stderr

    assert "Did you mean 'greet'" in plugged("gret").stderr


def test_a_plugin_takes_preload_options_where_its_function_does(plugged: Shell) -> None:
    assert "options {'site': 'there'}" in plugged("show", "--site", "there").stdout
    done = plugged("greet", "-Z", "there")
    assert "hello None from proj, False ()" in done.stdout
    assert "preload greet proj {'site': 'there'}" in done.stdout
    assert "Its Options" in plugged("greet", "--help").stdout


def test_every_command_takes_preload_options_and_tells_their_receivers(plugged: Shell) -> None:
    done = plugged("call", "proj.add", "-a", "[1, 2]", "--site", "there")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("preload call proj {'site': 'there'}\n")
    assert plugged("queues", "-Z", "x").stdout.startswith("preload queues proj {'site': 'x'}\n")
    assert plugged("call", "proj.add", "-a", "[1, 2]").stdout.startswith("preload call proj {'site': 'here'}\n")
    assert "--site" in plugged("worker", "--help").stdout
    assert "--colour" in plugged("worker", "--help").stdout
    refused = plugged("call", "proj.add", "--sight", "there")
    assert refused.returncode == 2
    assert "No such option" in refused.stderr


def test_a_shell_completes_plugins_and_options_of_the_app(plugged: Shell) -> None:
    def complete(*words: str) -> list[str]:
        environment = {"_SEDANO_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        return [line.partition(",")[2] for line in plugged(app=None, **environment).stdout.splitlines()]

    assert complete("sedano", "-A", "proj", "gre") == ["greet"]
    assert complete("sedano", "-A", "proj", "call", "--si") == ["--site"]
    assert complete("sedano", "-A", "proj", "worker", "--col") == ["--colour"]


def test_python_m_celery_is_the_command(plugged: Shell) -> None:
    words = [sys.executable, "-m", "sedano.as_celery", "-m", "celery", "-A", "proj", "report"]
    done = subprocess.run(words, cwd=plugged.folder, env=os.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "sedano" in done.stdout

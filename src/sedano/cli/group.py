"""The `sedano` command: global options, and one file per subcommand, imported only when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sedano import __version__
from sedano.cli import plugins
from sedano.cli.context import CliContext
from sedano.cli.useroptions import adopt
from sedano.nearest import nearest

# name -> (module, attribute, sentence shown by --help without importing the module)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "beat": ("sedano.cli.beat", "beat", "Start the scheduler: it sends tasks when they are due."),
    "call": ("sedano.cli.call", "call", "Call a task by name."),
    "completion": ("sedano.cli.completion", "completion", "Print the script that completes this command in a shell."),
    "control": ("sedano.cli.control", "control", "Tell the workers what to do."),
    "dead": ("sedano.cli.dead", "dead", "Look at dead letters (failed, lost, unreadable calls), and send them again."),
    "events": ("sedano.cli.events", "events", "Follow the events of the cluster, as text or with a camera."),
    "handback": ("sedano.cli.handback", "handback", "Put delayed and parked calls back into their queues in Celery's form."),
    "health": ("sedano.cli.health", "health", "Tell whether a worker takes calls, by the exit code."),
    "help": ("sedano.cli.help", "help_command", "Show the help of the command, or of one of these."),
    "init": ("sedano.cli.init", "init", "Write a small project that runs."),
    "inspect": ("sedano.cli.inspect", "inspect", "Ask the workers."),
    "list": ("sedano.cli.listing", "listing", "Show what is declared."),
    "parked": ("sedano.cli.parked", "parked", "Show the calls that wait for a worker that knows their task."),
    "purge": ("sedano.cli.purge", "purge", "Erase all messages from all known task queues."),
    "queues": ("sedano.cli.queues", "queues", "Show what waits in each queue; pause and resume queues."),
    "report": ("sedano.cli.report", "report", "Show what is useful to include in bug reports."),
    "result": ("sedano.cli.result", "result", "Print the return value for a given task id."),
    "schedule": ("sedano.cli.schedule", "schedule", "Show what is sent when; make and change entries while beats run."),
    "shell": ("sedano.cli.shell", "shell", "Start a Python shell with the app, its tasks and the workflow words."),
    "status": ("sedano.cli.status", "status", "Show the workers that are online."),
    "workflow": ("sedano.cli.workflow", "workflow", "Look at workflows (chains, groups, chords), and cancel them."),
    "why": ("sedano.cli.why", "why", "Tell why a call does not run, or how it ended."),
    "worker": ("sedano.cli.worker", "worker", "Start a worker."),
}


# Celery's commands that are not here: what to do instead.
ELSEWHERE: dict[str, str] = {
    "amqp": "comes in a later version; see sedano queues, purge, dead list, or declare by hand on app.connection()",
    "graph": "comes in a later version",
    "logtool": "is not part of Sedano",
    "migrate": "comes in a later version",
    "multi": "comes in a later version; start each worker by systemd or another supervisor, or with worker --detach",
    "upgrade": "is not needed: old and new names of settings are both read, see sedano report",
}


class LazyGroup(click.Group):
    """Knows the names of its commands without importing them, and suggests the nearest one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted({*COMMANDS, *plugins.plugins(), *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            given = self.commands.get(cmd_name) or plugins.load(cmd_name, alias=not ctx.params.get("no_alias"))
            return None if given is None else adopt(given, plugin=True)
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return adopt(command)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name not in COMMANDS and not name.startswith("-") and name not in (known := self.list_commands(ctx)):
            if name in ELSEWHERE:
                raise click.UsageError(f"No such command {name!r}: it {ELSEWHERE[name]}.", ctx)
            near = nearest(name, known)
            hint = f" Did you mean {near!r}?" if near else f" There are: {', '.join(known)}."
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, _, sentence) in sorted(COMMANDS.items())])
        others = [(name, sentence) for name, sentence in plugins.sentences(alias=not ctx.params.get("no_alias"))]
        others += [(name, command.get_short_help_str(90)) for name, command in self.commands.items()]
        if others := sorted((name, sentence) for name, sentence in others if name not in COMMANDS):
            with formatter.section("Plugins"):
                formatter.write_dl(others)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["--help", "-h"]})
@click.option("-A", "--app", envvar=["APP", "CELERY_APP"], help="Where the app is: MODULE, MODULE:ATTRIBUTE or PACKAGE.")
@click.option("-b", "--broker", envvar=["BROKER_URL"], help="Broker URL, instead of the app's.")
@click.option("--result-backend", envvar=["RESULT_BACKEND"], help="Result backend URL, instead of the app's.")
@click.option("--loader", envvar=["LOADER", "CELERY_LOADER"], help="Accepted for Celery's sake; has no effect.")
@click.option("--config", envvar=["CONFIG_MODULE", "CELERY_CONFIG_MODULE"], help="Module with settings.")
@click.option(
    "--workdir", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Change to this directory first."
)
@click.option("-C", "--no-color", is_flag=True, help="No colours; as NO_COLOR in the environment.")
@click.option("-q", "--quiet", is_flag=True, help="Say less.")
@click.option("--skip-checks", envvar=["SKIP_CHECKS", "CELERY_SKIP_CHECKS"], help="Skip Django's system checks.", is_flag=True)
@click.option("--no-alias", is_flag=True, help="Do not let `import celery` mean Sedano.")
@click.option("--debug", is_flag=True, help="Show the trace of an error.")
@click.version_option(__version__, prog_name="sedano", message="%(version)s (sedano)")
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """Sedano: a distributed task queue with Celery's API and messages.

    \b
    sedano -A proj worker -l info       run the tasks of proj
    sedano -A proj call proj.add -a '[2, 3]'
    sedano -A proj queues               what waits where
    sedano -A proj inspect active       what runs now; inspect --list, control --list
    """
    started_in = os.getcwd()
    if options["workdir"] is not None:
        os.chdir(options["workdir"])
    # The environment is how these two win over every other source of settings, in child processes too.
    if options["broker"]:
        os.environ["CELERY_BROKER_URL"] = options["broker"]
    if options["result_backend"]:
        os.environ["CELERY_RESULT_BACKEND"] = options["result_backend"]
    if options["config"]:
        os.environ["CELERY_CONFIG_MODULE"] = options["config"]
    ctx.obj = CliContext(
        app_name=options["app"],
        quiet=options["quiet"],
        color=not (options["no_color"] or os.environ.get("NO_COLOR")),
        alias=not options["no_alias"],
        debug=options["debug"],
        started_in=started_in,
        asked_in_vain=ctx.obj is True,
    )


MISPLACED = ("-A", "--app", "-b", "--broker", "--workdir", "--result-backend")


def _explain_misplaced(error: click.UsageError) -> str:
    """Celery 4 took the global options after the command; say where they belong now."""
    text = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.option_name in MISPLACED:
        text += f"\nGlobal options such as {error.option_name} stand before the command: sedano {error.option_name} … COMMAND …"
    return text


def run(words: Sequence[str], *, asked_in_vain: bool = False) -> int:
    """`main` for all commands. `asked_in_vain`: `quickhealth` has asked already."""
    try:
        code = cli.main(list(words), prog_name="sedano", standalone_mode=False, auto_envvar_prefix="CELERY", obj=asked_in_vain)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        if error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
            click.echo(f"Try '{error.ctx.command_path} --help' for help.\n", err=True)
        click.echo(f"Error: {_explain_misplaced(error)}", err=True)
        return 2
    except click.Abort:
        click.echo("Aborted!", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        from sedano.cli.failing import explain  # noqa: PLC0415 - only when something failed

        return explain(error, debug="--debug" in words)

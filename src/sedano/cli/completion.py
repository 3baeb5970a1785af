"""`sedano completion bash | zsh | fish`: click's completion of the command line, as a script to be loaded by the shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes this command in SHELL: commands, options, task and queue names.

    \b
    bash   eval "$(sedano completion bash)"           in ~/.bashrc
    zsh    eval "$(sedano completion zsh)"            in ~/.zshrc
    fish   sedano completion fish > ~/.config/fish/completions/sedano.fish
    """
    root = ctx.find_root()
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(root.command, {}, "sedano", "_SEDANO_COMPLETE").source())

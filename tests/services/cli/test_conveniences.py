"""What makes the command pleasant: help, completion, the shell, bars and colours at a terminal."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.services.cli.conftest import PROJECT, Shell, make_project

from sedano.cli.group import COMMANDS

SOON_S = 30.0  # much longer than it may take here, much shorter than a silent server is waited for otherwise


def at_terminal(folder: Path, *words: str, **environment: str) -> tuple[str, str]:
    """(stdout, what the terminal shows of stderr) of the command with its stderr at a terminal."""
    ours, theirs = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY", "SEDANO_", "NO_COLOR"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "sedano", *words],
        cwd=folder,
        env={**clean, "TERM": "xterm", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not part:
            break
        shown += part
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return out, shown.decode()


def test_given_help_when_it_is_asked_for_in_any_way_then_it_is_the_same(shell: Shell) -> None:
    pages = [shell(*words, app=None).stdout for words in (["help"], ["--help"], ["-h"])]
    assert len(set(pages)) == 1
    for name, (_, _, sentence) in COMMANDS.items():
        assert name in pages[0]
        assert sentence.split(".")[0][:30] in " ".join(pages[0].split())
    of_dead = [shell(*words, app=None).stdout for words in (["help", "dead", "list"], ["dead", "list", "--help"])]
    assert of_dead[0] == of_dead[1] != ""
    wrong = shell("help", "workr", app=None)
    assert wrong.returncode == 2
    assert "Did you mean 'worker'?" in wrong.stderr
    too_deep = shell("help", "worker", "x", app=None)
    assert too_deep.returncode == 2


def complete(shell: Shell, line: str) -> list[str]:
    """What bash is offered for the last word of `line`."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-c", "from sedano.cli.main import main; main()"],
        cwd=shell.folder,
        env={**os.environ, "_SEDANO_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return sorted(item.partition(",")[2] for item in done.stdout.splitlines() if item)


def test_given_a_word_half_typed_when_the_shell_asks_then_commands_options_tasks_and_queues_come(tmp_path: Path) -> None:
    settings = "app.conf.task_queues = {'mail': {}, 'media': {}, 'celery': {}}\nprint('noise')\n"
    shell = make_project(tmp_path, {"proj.py": PROJECT + settings, "broken.py": "1 / 0\n"})
    assert complete(shell, "sedano work") == ["worker", "workflow"]
    assert complete(shell, "sedano -A proj worker --without-m") == ["--without-mingle"]
    assert complete(shell, "sedano -A proj call proj.") == ["proj.add", "proj.boom", "proj.mail"]
    assert complete(shell, "sedano -A proj worker -Q m") == ["mail", "media"]
    assert complete(shell, "sedano -A proj purge -Q mail,m") == ["mail,media"]
    assert complete(shell, "sedano -A broken call b") == []
    assert complete(shell, "sedano call b") == []


def test_given_nodes_that_run_when_the_shell_asks_for_a_destination_then_their_names_come(served: Shell) -> None:
    for command in ("inspect", "control", "status", "health"):
        assert complete(served, f"sedano -A proj {command} -d c") == ["cli@test"]
    assert complete(served, "sedano -A proj inspect -d other@test,c") == ["other@test,cli@test"]
    assert complete(served, "sedano -A proj inspect -d cli@test,c") == []
    assert complete(served, "sedano -A proj inspect -d x") == []
    (store,) = served.folder.glob(".sedano/*.db")
    assert complete(served, f"sedano -b sqlite:///{store} status -d c") == ["cli@test"]


def test_given_no_store_or_one_that_says_nothing_when_the_shell_asks_then_it_is_left_in_peace(shell: Shell) -> None:
    assert complete(shell, "sedano -A proj inspect -d c") == []
    assert not (shell.folder / ".sedano").exists()  # nothing is made for a word that is not typed yet
    assert complete(shell, "sedano -b nonsense://x status -d c") == []
    assert complete(shell, "sedano status -d c") == []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        assert complete(shell, f"sedano -b redis://127.0.0.1:{silent.getsockname()[1]}/0 status -d c") == []
        assert time.monotonic() - began < SOON_S


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_given_a_shell_when_it_is_named_then_its_script_is_printed(shell: Shell, kind: str) -> None:
    shown = shell("completion", kind, app=None)
    assert shown.returncode == 0
    assert f"_SEDANO_COMPLETE={kind}_complete" in shown.stdout
    if kind == "bash":
        assert subprocess.run(["bash", "-n"], input=shown.stdout, text=True, check=False).returncode == 0


def test_given_the_shell_when_it_is_used_then_app_tasks_and_workflow_words_are_there(shell: Shell) -> None:
    code = "print(app is celery, add(2, 3), tasks['proj.add'] is add, chain.__name__, Task.__name__, signature('x').task)\n"
    shown = shell("shell", "--python", stdin=code)
    assert shown.returncode == 0
    assert shown.stdout.replace(">>> ", "").strip() == "True 5 True chain Task x"
    bare = shell("shell", "--python", "-T", stdin="print('add' in dir(), 'app' in dir())\n")
    assert "False True" in bare.stdout
    missing = shell("shell", "--bpython")
    assert missing.returncode == 1
    assert "bpython is not installed" in missing.stderr


IPYTHON = "def start_ipython(argv, user_ns):\n    print('IPython', user_ns['add'](2, 3))\n"
BPYTHON = "def embed(names, banner):\n    print('bpython', names['add'](2, 3))\n"


def test_given_better_prompts_when_the_shell_starts_then_the_best_is_taken_unless_one_is_named(tmp_path: Path) -> None:
    shell = make_project(tmp_path, {"proj.py": PROJECT, "bpython.py": BPYTHON})
    assert shell("shell").stdout == "bpython 5\n"
    (tmp_path / "IPython.py").write_text(IPYTHON)
    assert shell("shell").stdout.splitlines()[-1] == "IPython 5"
    assert shell("shell", "-B").stdout == "bpython 5\n"
    assert shell("shell", "--python", stdin="print(6)\n").stdout.replace(">>> ", "").strip() == "6"


def test_given_long_work_when_somebody_looks_then_a_bar_shows_it_and_stdout_holds_the_answer_alone(shell: Shell) -> None:
    out, terminal = at_terminal(shell.folder, "-A", "proj", "purge", "-f", "-Q", "a,b,c", "--json")
    assert json.loads(out)["purged"] == 0
    assert "Purging" in terminal
    assert "3/3" in terminal
    _, quiet = at_terminal(shell.folder, "-A", "proj", "-q", "purge", "-f", "-Q", "a,b,c")
    assert quiet == ""
    assert shell("purge", "-f", "-Q", "a,b,c").stderr == ""


def test_given_a_terminal_when_a_worker_logs_then_it_is_coloured_unless_that_is_not_wanted(shell: Shell) -> None:
    (shell.folder / "talk.py").write_text(
        PROJECT + "from sedano import signals\nimport logging\n"
        "@signals.celeryd_after_setup.connect\ndef talk(sender, **_):\n    logging.getLogger('mine').error('red')\n"
        "@signals.worker_ready.connect\ndef leave(sender, **_):\n    sender.stop()\n"
    )
    worker = ["worker", "-P", "solo", "-n", "w1@h"]
    _, coloured = at_terminal(shell.folder, "-A", "talk", *worker)
    assert "\033[1;31m" in coloured
    _, plain = at_terminal(shell.folder, "-A", "talk", "--no-color", *worker)
    assert "red" in plain
    assert "\033[" not in plain
    _, asked = at_terminal(shell.folder, "-A", "talk", *worker, NO_COLOR="anything")
    assert "\033[" not in asked
    _, filed = at_terminal(shell.folder, "-A", "talk", *worker, "--logfile", "w.log")
    assert "red" not in filed
    assert (shell.folder / "w.log").read_text().endswith("] red\n")

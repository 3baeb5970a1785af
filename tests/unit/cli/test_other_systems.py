"""Systems that lack what POSIX has: the package and the command can be imported there, and what cannot work says so.

A stand-in for Windows: our modules find none of its modules, and `os` and `signal` have only what it has there. That the
worker runs there is not verified by this.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WINDOWS = """
import asyncio, builtins, logging.handlers, multiprocessing.spawn, os, pkgutil, signal, subprocess, sys, tempfile, zoneinfo
import click, msgspec, rich.progress, rich.table

MISSING = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "readline", "syslog"}
real = builtins.__import__

def guarded(name, globals=None, *rest):
    if name in MISSING and str((globals or {}).get("__name__", "")).startswith("sedano"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return real(name, globals, *rest)

builtins.__import__ = guarded
for name in ("fork", "getuid", "geteuid", "getgid", "setuid", "setgid", "setsid", "initgroups", "setgroups", "memfd_create",
             "sched_getaffinity", "WNOHANG", "waitid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGKILL", "SIGALRM"):
    delattr(signal, name)
sys.platform = "win32"
"""


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS + code], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_given_a_system_without_posix_when_the_package_and_the_command_are_imported_then_nothing_is_missed(
    tmp_path: Path,
) -> None:
    run(
        "import sedano, sedano.cli, sedano.cli.main, sedano.worker.node\n"
        "for found in pkgutil.iter_modules(sedano.cli.__path__):\n"
        "    __import__(f'sedano.cli.{found.name}')\n",
        tmp_path,
    )


def test_given_a_system_without_posix_when_its_users_type_then_what_can_work_works(tmp_path: Path) -> None:
    (tmp_path / "proj.py").write_text("from sedano import Sedano\napp = Sedano('proj', broker='memory://')\n")
    out = run(
        "from sedano.cli.main import main\n"
        "for words in (['--help'], ['worker', '--help'], ['init', 'shop'], ['-A', 'proj', 'report'], ['--version']):\n"
        "    assert main(words) == 0, words\n"
        "assert main(['-A', 'proj', 'worker', '--detach']) == 2\n"
        "assert main(['-A', 'proj', 'worker', '--uid', 'anna']) == 2\n",
        tmp_path,
    )
    assert "Start a worker." in out
    assert (tmp_path / "shop" / "tasks.py").exists()

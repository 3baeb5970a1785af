"""A reader of an example's README, who types line after line into terminals and looks at what comes back."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.journeys.readme import Line, lines_of

PATIENCE_S = 60.0
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Terminal:
    """One command that stays, in a session of its own; what it prints goes to `log`."""

    def __init__(self, command: str, folder: Path, variables: Mapping[str, str], log: Path) -> None:
        self.command = command
        self._log = log
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                f"exec env {command}",
                shell=True,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str) -> str:
        """The first text that matches; fails with the log when the command ends before, or nothing comes in time."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            ended = self._process.poll()  # asked first: what it wrote before its end is in the text
            if found := re.search(pattern, self.text):
                return found[0]
            assert ended is None, f"{self.command}: ended with {ended} before {pattern!r} came:\n{self.text}"
            assert time.monotonic() < deadline, f"{self.command}: {pattern!r} does not come:\n{self.text}"
            time.sleep(0.05)  # a foreign process: its log can only be read again

    def wait_for_port(self, port: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            self.must_run()
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)

    def must_run(self) -> None:
        assert self._process.poll() is None, f"{self.command}: ended with {self._process.returncode}:\n{self.text}"

    def press_control_c(self) -> int:
        """What the key does: the signal goes to every process of the terminal. The exit code."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self._process.wait(PATIENCE_S)

    def close(self) -> None:
        """End what is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Reader:
    """`folder` is a copy of the example, `port` where its web server shall listen instead of at 8000."""

    def __init__(self, folder: Path, logs: Path, bin_: Path, port: int, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self._logs = logs
        self._port = port
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SEDANO_", "CELERY", "PYTHON"))}
        quiet = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
        self._variables = {**inherited, **quiet, "PATH": f"{bin_}:{os.environ['PATH']}", **variables}
        self._id = "ID"
        self.terminals: list[Terminal] = []

    def follow(self) -> None:
        """Do all that the README says, in its order."""
        for line in lines_of(self.folder / "README.md"):
            if line.stays:
                self._open_terminal(line)
            elif line.command.startswith("curl "):
                self._ask(line)
            else:
                self._type(line)

    @property
    def workers(self) -> list[Terminal]:
        return [terminal for terminal in self.terminals if " worker " in terminal.command]

    def type(self, command: str) -> str:
        """One command that ends by itself; what it prints. Fails when it fails."""
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=self._variables,
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}\n{self._told()}"
        return done.stdout

    def close(self) -> None:
        for terminal in self.terminals:
            terminal.close()

    def _open_terminal(self, line: Line) -> None:
        command = re.sub(r"\b8000\b", str(self._port), line.command)
        terminal = Terminal(command, self.folder, self._variables, self._logs / f"terminal-{len(self.terminals)}.log")
        self.terminals.append(terminal)
        if " worker " not in command:
            terminal.wait_for_port(self._port)

    def _type(self, line: Line) -> None:
        output = self.type(self._filled(line.command))
        assert line.is_shown(output), f"$ {line.command}\nsays {output!r}\nand not {line.shown!r}\n{self._told()}"
        self._remember(output)

    def _ask(self, line: Line) -> None:
        """As curl does; what is not done yet is asked for again."""
        words = shlex.split(self._filled(line.command))
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        request = urllib.request.Request(words[-1].replace(":8000/", f":{self._port}/"), method=method)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for terminal in self.terminals:
                terminal.must_run()
            try:
                with _HTTP.open(request, timeout=PATIENCE_S) as answer:
                    output = answer.read().decode()
            except urllib.error.HTTPError as refused:
                raise AssertionError(f"{words}: {refused}\n{self._told()}") from refused
            if line.is_shown(output):
                return self._remember(output)
            assert method == "GET", f"{words}: {output!r} and not {line.shown!r}"
            assert time.monotonic() < deadline, f"{words}: {output!r} and not {line.shown!r}\n{self._told()}"
            time.sleep(0.05)

    def _filled(self, command: str) -> str:
        return re.sub(r"\bID\b", self._id, command)

    def _remember(self, output: str) -> None:
        self._id = next(iter(_UUID.findall(output)), self._id)

    def _told(self) -> str:
        return "\n".join(f"$ {terminal.command}\n{terminal.text}" for terminal in self.terminals)

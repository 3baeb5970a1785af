"""`celery.contrib.rdb`: a program stops where it says, and whoever connects looks at its variables."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = """
import sedano.as_celery
from celery.contrib import rdb

def work(x):
    y = x * 2
    rdb.set_trace()
    y += 1
    return y

print("result", work(20), flush=True)
print("result", work(30), flush=True)
"""
PATIENCE_S = 60.0


@contextmanager
def program(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    (folder / "program.py").write_text(PROGRAM)
    import os  # noqa: PLC0415

    process = subprocess.Popen(
        [sys.executable, "program.py"], cwd=folder, env={**os.environ, "CELERY_RDB_PORT": str(port)}, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(stream: socket.SocketIO, text: str) -> str:
    said = ""
    while text not in said:
        part = stream.read(1)
        assert part, said
        said += part.decode()
    return said


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(r"Rdb:(\d+): Ready to connect: telnet 127.0.0.1 \1$", line):
            return int(found[1])
    raise AssertionError("it does not wait")


def test_given_a_stop_when_somebody_connects_then_variables_can_be_changed_and_the_program_goes_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, program(tmp_path, taken.getsockname()[1]) as process:
        assert process.stdout is not None
        for commands, result in ((("p x, y", "y = 5", "c"), 6), (("next", "q"), 61)):
            port = port_of(process)
            assert port != taken.getsockname()[1]  # the first port was taken
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
                stream = socket.SocketIO(client, "rw")
                said = until(stream, f"(Rdb:{port}) ")
                assert "y += 1" in said
                for command in commands:
                    stream.write(command.encode() + b"\n")
                    if command not in ("c", "q"):
                        said += until(stream, f"(Rdb:{port}) ")
                assert ("(20, 40)" in said) == (commands[0] == "p x, y")
            rest = next(line for line in process.stdout if line.startswith("result"))
            assert rest == f"result {result}\n"
        assert process.wait(PATIENCE_S) == 0


def test_given_a_client_that_goes_away_when_the_program_is_stopped_then_it_goes_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, program(tmp_path, taken.getsockname()[1]) as process:
        assert process.stdout is not None
        for result in (41, 61):
            socket.create_connection(("127.0.0.1", port_of(process)), timeout=PATIENCE_S).close()
            assert next(line for line in process.stdout if line.startswith("result")) == f"result {result}\n"
        assert process.wait(PATIENCE_S) == 0

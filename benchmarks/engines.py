"""The two engines: how to start a worker and a producer of each, and what its processes use."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")


def celery_environment(requirement: str = "celery[redis]==5.7.*") -> Path:
    """The Python of an environment with Celery, made once and kept in SEDANO_TEST_CACHE."""
    cache = Path(os.environ.get("SEDANO_TEST_CACHE") or Path.home() / ".cache" / "sedano-tests")
    folder = cache / ("bench-" + "".join(letter if letter.isalnum() else "-" for letter in requirement))
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", requirement, "hiredis"], check=True
        )
        (folder / "complete").touch()
    return python


@dataclass(frozen=True)
class Engine:
    name: str
    python: Path

    def environment(self, broker: str, backend: str, *, results: bool, prefetch: str) -> dict[str, str]:
        added = {
            "BENCH_ENGINE": self.name,
            "BENCH_BROKER": broker,
            "BENCH_BACKEND": backend,
            "BENCH_RESULTS": "1" if results else "0",
            "BENCH_PREFETCH": prefetch,
            "C_FORCE_ROOT": "1",
        }
        return {**os.environ, **{key: value for key, value in added.items() if value != "" or key == "BENCH_BACKEND"}}

    def produce(self, environment: dict[str, str], *words: str) -> dict[str, Any]:
        done = subprocess.run(
            [self.python, "sender.py", *words], cwd=HERE, env=environment, check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout.strip().splitlines()[-1])

    @contextlib.contextmanager
    def worker(self, environment: dict[str, str], log: Path, concurrency: int = 2) -> Iterator[subprocess.Popen[bytes]]:
        command = [
            str(self.python),
            "-m",
            self.name,
            "-A",
            "work",
            "worker",
            "-l",
            "warning",
            "-c",
            str(concurrency),
            "-Q",
            "bench",
        ]
        if self.name == "celery":
            command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        with log.open("ab") as output:
            process = subprocess.Popen(command, cwd=HERE, env=environment, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def engines() -> list[Engine]:
    return [Engine("sedano", Path(sys.executable)), Engine("celery", celery_environment())]


def tree(pid: int) -> list[int]:
    """`pid` and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(stat[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        here = waiting.pop()
        found.append(here)
        waiting.extend(children.get(here, []))
    return found


def cpu_seconds(pid: int) -> float:
    total = 0
    for process in tree(pid):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            total += int(stat[11]) + int(stat[12])
    return total / TICK


def pss_mb(pid: int) -> float:
    total = 0
    for process in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def wait_for_marks(path: Path, count: int, process: subprocess.Popen[bytes], timeout_s: float) -> list[float]:
    """The times written by the marking calls, once there are `count`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if path.exists():
            times = [float(line) for line in path.read_text().splitlines()]
            if len(times) >= count:
                return times
        if process.poll() is not None:
            raise SystemExit(f"the worker ended with {process.returncode}")
        time.sleep(0.02)
    raise SystemExit(f"not done within {timeout_s:.0f} s")

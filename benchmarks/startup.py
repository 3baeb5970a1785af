"""What operators and containers wait for at each question: short commands, here and with Celery: `./dev bench startup`.

Each command is a process of its own that asks one running worker. Ours and Celery's take turns; the figures are medians.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from engines import APPS, ENGINES, Engine
from environments import environment
from servers import store

SRC = Path(__file__).resolve().parent.parent / "src"
NODE = {"sedano": "ours@bench", "celery": "theirs@bench"}
QUESTIONS: dict[str, dict[str, Sequence[str]]] = {
    "is that worker well": {"sedano": ("health", "-d", NODE["sedano"]), "celery": ("inspect", "ping", "-d", NODE["celery"])},
    "status": {"sedano": ("status",), "celery": ("status",)},
    "--version": {"sedano": ("--version",), "celery": ("--version",)},
}
"""What is asked: the words for each engine. `health` says more than `ping`: a worker that takes nothing answers that, too."""

Taken = tuple[float, float]
"""Milliseconds: wall time, and CPU time of the process, user and system."""


def main(words: Sequence[str], keep: Callable[[str, object], None]) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench startup")
    parser.add_argument("--runs", type=int, default=15)
    asked = parser.parse_args(words)
    engines = {engine.name: engine for engine in ENGINES if engine.name in NODE}
    raw: dict[str, dict[str, list[Taken]]] = {question: {name: [] for name in engines} for question in QUESTIONS}
    with contextlib.ExitStack() as stack:
        ways = {name: stack.enter_context(asker(engine)) for name, engine in engines.items()}
        for run in range(asked.runs + 1):
            for question, who in QUESTIONS.items():
                for name, ask in ways.items():
                    taken = ask(who[name])
                    if run:  # the first writes the cache of bytecode
                        raw[question][name].append(taken)
    show(raw)
    keep("startup", {"runs": asked.runs, "milliseconds (wall, cpu)": raw})
    return 0


@contextlib.contextmanager
def asker(engine: Engine) -> Iterator[Callable[[Sequence[str]], Taken]]:
    """Run a command beside a worker of the engine, on a server of its own: `status` is to find one node."""
    # Without the tools of a checkout: what they bring would be imported along.
    python = environment("click", "msgspec", "redis[hiredis]", "rich") if engine.name == "sedano" else engine.python
    with tempfile.TemporaryDirectory(prefix="sedano-bench-") as name, store("redis", Path(name)) as place:
        folder = Path(name)
        variables = engine.variables("tasks", place.url, folder, results=True)
        variables["PYTHONPATH"] = f"{APPS}:{SRC}" if engine.name == "sedano" else str(APPS)
        variables["PYTHONPYCACHEPREFIX"] = f"{folder}/cache"
        variables.pop("PYTHONDONTWRITEBYTECODE", None)
        program = [str(python), "-m", engine.name]
        worker = [*program, "-A", "celery_app", "worker", "-c", "1", "-n", NODE[engine.name], "-l", "warning"]
        asking = {**variables, "CELERY_BROKER_URL": place.url}
        process = subprocess.Popen(worker, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _until_ready([*program, "-b", place.url, "inspect", "ping", "-d", NODE[engine.name]], asking, process)
            yield lambda words: _run([*program, *words], asking)
        finally:
            process.terminate()
            process.wait()


def _until_ready(ping: list[str], variables: dict[str, str], worker: subprocess.Popen[bytes]) -> None:
    while subprocess.run(ping, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
        if worker.poll() is not None:
            raise SystemExit(f"{' '.join(worker.args)} ended with {worker.returncode}")  # type: ignore[arg-type]


def _run(command: list[str], variables: dict[str, str]) -> Taken:
    began = time.monotonic()
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return wall * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3


def show(raw: dict[str, dict[str, list[Taken]]]) -> None:
    """A line for each question and engine; the last columns say how many times as long Celery's takes."""
    print(f"load: {os.getloadavg()[0]:.2f}\n")
    print(f"{'':<40}{'wall ms':>9}{'slowest':>9}{'cpu ms':>9}{'wall, times ours':>19}{'cpu, times ours':>18}")
    for question, by_engine in raw.items():
        ours = [statistics.median(column) for column in zip(*by_engine["sedano"], strict=True)]
        for name, taken in by_engine.items():
            wall, cpu = (statistics.median(column) for column in zip(*taken, strict=True))
            slowest = max(one for one, _ in taken)
            ratios = f"{wall / ours[0]:>19.1f}{cpu / ours[1]:>18.1f}" if name != "sedano" else ""
            print(f"{name + ' ' + ' '.join(QUESTIONS[question][name]):<40}{wall:>9.0f}{slowest:>9.0f}{cpu:>9.0f}{ratios}")

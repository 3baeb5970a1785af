"""Measures of a whole life: how long a start takes, what delayed calls cost a worker, what follows when a fleet is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from engines import APPS, Engine
from environments import environment
from measures import Figures, Tally
from processes import cpu_seconds, pss_mb, tree
from servers import Store

SRC = Path(__file__).resolve().parent.parent / "src"
STARTS = 3
QUIET_S = 35.0  # longer than a lease of Sedano and the look of its keeper
AN_APP = (
    "from {0} import Celery\napp = Celery('x', broker='redis://localhost/0')\n@app.task\ndef add(x, y): return x + y\nadd.name"
)


def startup(engine: Engine, store: Store, folder: Path) -> Figures:
    """CPU time of an app with a task and of `--help`, wall time until the worker says that it is ready; with Python's bytecode
    cache, and without (as on the first start in a fresh container)."""
    library = "celery" if engine.name.startswith("celery") else "sedano"
    # Without the tools of a checkout: what they bring would be imported along.
    python = environment("click", "msgspec", "redis[hiredis]", "rich") if library == "sedano" else engine.python
    variables = engine.variables("drain", store.url, folder, results=True)
    variables["PYTHONPATH"] = f"{APPS}:{SRC}" if library == "sedano" else str(APPS)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    commands = {
        "import": [python, "-c", AN_APP.format(library)],
        "help": [python, "-m", library, "--help"],
    }
    worker = [python, "-m", library, "-A", "celery_app", "worker", "-l", "info", "-c", "2", "-Q", "bench"]
    figures: Figures = {}
    for cached in (True, False):
        with tempfile.TemporaryDirectory(prefix="sedano-bench-") as cache:
            state = variables | {"PYTHONPYCACHEPREFIX": cache} | ({} if cached else {"PYTHONDONTWRITEBYTECODE": "1"})
            end = "ms" if cached else "cold_ms"
            for name, command in commands.items():
                taken = [_cpu_ms(command, state) for _ in range(STARTS + cached)][cached:]
                figures[f"{name}_{end}"] = statistics.median(taken)
            ready = [_ready_ms(worker, state, folder) for _ in range(2 + cached)][cached:]
            figures[f"ready_{end}"] = statistics.median(ready)
    return figures


def _cpu_ms(command: list[str | Path], variables: dict[str, str]) -> float:
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ends with {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1e3


def _ready_ms(command: list[str | Path], variables: dict[str, str], folder: Path) -> float:
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if " ready." in line:
                return (time.monotonic() - started) * 1e3
        raise SystemExit(f"{command} ended before it was ready")
    finally:
        _kill(process)
        process.stdout.close()


def eta(engine: Engine, store: Store, folder: Path, count: int) -> Figures:
    """How much a worker grows by calls that are due much later, for a hundred thousand of them."""
    variables = engine.variables("drain", store.url, folder, results=True)
    tally = Tally(folder)
    with engine.worker("drain", variables, folder) as worker:
        engine.produce(variables, "fill", "noop", 100, 2_000)
        engine.produce(variables, "later_one", "noop", 400, 1)
        tally.wait_for(2_500, worker)
        before = pss_mb(*tree(worker.pid))
        sent = engine.produce(variables, "later_one", "noop", count, 50_000)
        used = -1.0
        while (now := cpu_seconds(*tree(worker.pid))) > used + 0.05:  # until it has nothing more to do with them
            used = now
            time.sleep(2)
        after = pss_mb(*tree(worker.pid))
    return {"extra_mb_per_100k": (after - before) * 100_000 / count, "counted": float(count), "enqueue_cpu_us": sent["cpu_us"]}


def killed(engine: Engine, store: Store, folder: Path, count: int) -> Figures:
    """Every process of the worker is killed in the middle of a run and started again at once. When the last call ran after
    that, and how many had not run `QUIET_S` later (at early ack, those that were running: they have an outcome at best)."""
    variables = engine.variables("tasks", store.url, folder, results=True)
    engine.produce(variables, "fill", "nap", 0, count)
    tally = Tally(folder)
    with engine.worker("tasks", variables, folder) as worker:
        tally.wait_for(count // 4, worker)
        _kill(worker)
    began = last = time.monotonic()
    total = tally.total()
    with engine.worker("tasks", variables, folder) as worker:
        while total < count and time.monotonic() < last + QUIET_S:
            time.sleep(0.05)
            if (now := tally.total()) > total:
                total, last = now, time.monotonic()
        _kill(worker)
    return {"seconds": last - began, "not_run": float(count - total)}


def _kill(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    for pid in tree(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()

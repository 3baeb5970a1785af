"""Beats: how many entries each second one keeps up with, how late, how soon another takes over: `./dev bench schedules`.

Ours, Celery's with its own file, with celery-redbeat and with django-celery-beat run on a Redis of their own each, one after
the other; nobody consumes, the queue is counted. `scale` is ours alone: entries made at run time, 1,000 of them due a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import redis

from environments import environment
from servers import Store, store

SRC = Path(__file__).resolve().parent.parent / "src"
PROJECT = """
import os
from importlib import import_module
app = import_module(os.environ["BENCH_ENGINE"]).Celery("beats", broker=os.environ["STORE"])
app.conf.result_expires = None
app.conf.redbeat_redis_url = os.environ["STORE"]
app.conf.beat_schedule = {
    f"e{number}": {"task": "nobody.waits", "schedule": 1.0} for number in range(int(os.environ["ENTRIES"]))
}
"""
DJANGO = """
SECRET_KEY = "bench"
USE_TZ = True
INSTALLED_APPS = ["django_celery_beat"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "django.db"}}
"""
CELERY = ("celery[redis]==5.7.*", "hiredis")
ENGINES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sedano": ((), ()),
    "celery": (CELERY, ()),
    "redbeat": ((*CELERY, "celery-redbeat", "python-dateutil"), ("-S", "redbeat.RedBeatScheduler")),
    "django": ((*CELERY, "django-celery-beat"), ("-S", "django_celery_beat.schedulers:DatabaseScheduler")),
}
"""What is installed, and the options of `beat`."""
TICK = os.sysconf("SC_CLK_TCK")
QUEUE = "celery"


def main(words: Sequence[str], keep: Callable[[str, object], None]) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench schedules")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each beat is watched")
    parser.add_argument("--entries", default="100,1000,3000", help="entries of one second each")
    parser.add_argument("--scale", type=int, default=100_000, help="entries made at run time; 0 leaves this part out")
    asked = parser.parse_args(words)
    figures: dict[str, Any] = {"keeps up": {}, "two beats": {}, "scale": {}}
    for count in map(int, asked.entries.split(",")):
        for name in ENGINES:
            taken = keeps_up(name, count, asked.seconds)
            figures["keeps up"].setdefault(count, {})[name] = taken
            print(
                f"{count:6} entries a second  {name:7} {taken['sent per s']:8.0f} sent/s  {taken['cpu ms per s']:6.0f} ms CPU/s"
            )
    for name in ENGINES:
        figures["two beats"][name] = share = doubled(name, asked.seconds)
        print(f"two beats of {name}: each moment is sent {share:.2f} times")
    figures["takes over (s)"] = [takes_over() for _ in range(5)]
    print(
        f"the leader is killed: the next call after {statistics.median(figures['takes over (s)']):.2f} s (median of 5),"
        f" at most {max(figures['takes over (s)']):.2f} s"
    )
    for kind in ("sqlite", "redis") if asked.scale else ():
        figures["scale"][kind] = scale = at_scale(kind, asked.scale, asked.seconds)
        print(f"{asked.scale} entries, 1,000 due a second, {kind}: {scale}")
    keep("schedules", figures)
    return 0


# -- beside Celery ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def beat(name: str, place: Store, folder: Path, entries: int) -> Iterator[subprocess.Popen[bytes]]:
    installed, options = ENGINES[name]
    python = environment(*installed) if installed else sys.executable
    program = "sedano" if name == "sedano" else "celery"
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), *([str(SRC)] if name == "sedano" else [])]),
        "BENCH_ENGINE": program,
        "STORE": place.url,
        "ENTRIES": str(entries),
    }
    if name == "django":
        variables["DJANGO_SETTINGS_MODULE"] = "djangobeat"
        if not (folder / "djangobeat.py").exists():
            (folder / "djangobeat.py").write_text(DJANGO)
            subprocess.run([python, "-m", "django", "migrate", "-v", "0"], cwd=folder, env=variables, check=True)
    words = ["beat", "-l", "critical", "-s", str(folder / f"schedule-{time.monotonic_ns()}"), *options]
    command = [str(python), "-m", program, "-A", "beats", *words]
    process = subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def keeps_up(name: str, count: int, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="sedano-bench-") as folder_name, store("redis", Path(folder_name)) as place:
        folder = Path(folder_name)
        (folder / "beats.py").write_text(PROJECT)
        with redis.Redis(port=place.port) as client, beat(name, place, folder, count) as process:
            _until(lambda: int(client.llen(QUEUE)) >= count)  # the first round is the start's
            sent, cpu, began = int(client.llen(QUEUE)), _cpu_s(process.pid), time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - began
            rate = (int(client.llen(QUEUE)) - sent) / took
            return {"sent per s": rate, "cpu ms per s": 1000 * (_cpu_s(process.pid) - cpu) / took}


def doubled(name: str, seconds: float) -> float:
    """How many calls are sent for each moment when two beats run; the second has a schedule file of its own."""
    count = 10
    with tempfile.TemporaryDirectory(prefix="sedano-bench-") as folder_name, store("redis", Path(folder_name)) as place:
        folder = Path(folder_name)
        (folder / "beats.py").write_text(PROJECT)
        with redis.Redis(port=place.port) as client, beat(name, place, folder, count), beat(name, place, folder, count):
            _until(lambda: int(client.llen(QUEUE)) >= 5 * count)
            sent, began = int(client.llen(QUEUE)), time.monotonic()
            time.sleep(seconds)
            return (int(client.llen(QUEUE)) - sent) / (count * (time.monotonic() - began))


def takes_over() -> float:
    """Seconds from the kill of the leader to the next call; an entry is due each second, so up to one is its own."""
    with tempfile.TemporaryDirectory(prefix="sedano-bench-") as folder_name, store("redis", Path(folder_name)) as place:
        folder = Path(folder_name)
        (folder / "beats.py").write_text(PROJECT)
        with redis.Redis(port=place.port) as client, beat("sedano", place, folder, 1) as leader:
            _until(lambda: int(client.llen(QUEUE)) >= 1)
            with beat("sedano", place, folder, 1):
                _until(lambda: int(client.llen(QUEUE)) >= 5)  # by then the other stands by
                leader.send_signal(signal.SIGKILL)
                leader.wait()
                sent, killed = int(client.llen(QUEUE)), time.monotonic()
                _until(lambda: int(client.llen(QUEUE)) > sent)
                return time.monotonic() - killed


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def _until(claim: Callable[[], bool], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            raise SystemExit("it does not come")
        time.sleep(0.005)


# -- many entries -----------------------------------------------------------------------------------------------------------


def at_scale(kind: str, count: int, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="sedano-bench-") as folder, store(kind, Path(folder)) as place:
        program = [sys.executable, str(Path(__file__).resolve().parent / "manyentries.py"), place.url, str(count), str(seconds)]
        variables = {**os.environ, "PYTHONPATH": str(SRC)}
        done = subprocess.run(program, env=variables, stdout=subprocess.PIPE, check=True, text=True)
        figures: dict[str, float] = json.loads(done.stdout)
        return figures

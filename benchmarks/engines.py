"""The engines: in which environment each lives, how its worker and its producer are started, how it is tuned."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from environments import environment, versions

APPS = Path(__file__).resolve().parent / "apps"
CEILING = Path(__file__).resolve().parent / "ceiling.py"

Shape = Literal["drain", "tasks", "unbatched", "naps", "waited"]
"""What a worker is for: two processes for no-ops; for tasks that do something; that take one call at a time; a hundred calls at
once; two processes that are waited for."""


@dataclass(frozen=True)
class Engine:
    """`command` gives the words of its worker, or None where it has none for that shape; `tuned` are variables for the shape.

    `share` is how many calls it gets of those that Sedano gets: nobody waits for minutes, and its rate does not depend on it.
    """

    name: str
    app: str
    requirements: tuple[str, ...]
    packages: tuple[str, ...]
    command: Callable[[Shape], list[str] | None]
    share: float
    tuned: Callable[[Shape], dict[str, str]] = lambda shape: {}
    stores: tuple[str, ...] = ("redis",)
    often: bool = True
    """Whether it takes part in each round, or in the first only: the run is to take minutes."""

    @cached_property
    def python(self) -> Path:
        return environment(*self.requirements) if self.requirements else Path(sys.executable)

    def versions(self) -> dict[str, str]:
        return versions(self.python, *self.packages)

    def can(self, shape: Shape) -> bool:
        return self.command(shape) is not None

    def variables(self, shape: Shape, broker: str, tally: Path, *, results: bool, quorum: bool = False) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SEDANO_", "CELERY_", "BENCH_"))}
        return {
            **inherited,
            "BENCH_ENGINE": "celery" if self.name.startswith("celery") else "sedano",
            "BENCH_APP": self.app,
            "BENCH_BROKER": broker,
            "BENCH_BACKEND": ("rpc://" if broker.startswith("amqp") else broker) if results else "",
            "BENCH_QUORUM": "1" if quorum else "",
            "BENCH_RESULTS": "1" if results else "0",
            "BENCH_TALLY": str(tally),
            "BENCH_UNBATCHED": "1" if shape == "unbatched" else "",
            "C_FORCE_ROOT": "1",
            "PYTHONPATH": str(APPS),
            **self.tuned(shape),
        }

    def produce(self, variables: dict[str, str], *words: object) -> dict[str, Any]:
        command = [str(self.python), str(APPS / "sender.py"), *(str(word) for word in words)]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the producer of {self.name} failed: {done.stderr[-3000:]}")
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    @contextlib.contextmanager
    def worker(self, shape: Shape, variables: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
        words = self.command(shape)
        assert words is not None
        with (folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [self.python, *words], cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _celery_like(module: str, *added: str, naps: tuple[str, ...] | None) -> Callable[[Shape], list[str] | None]:
    words = ["-m", module, "-A", "celery_app", "worker", "-l", "warning", "-Q", "bench", *added]

    def command(shape: Shape) -> list[str] | None:
        if shape == "naps":
            return None if naps is None else [*words, *naps]
        return [*words, "-c", "2"]

    return command


def _dramatiq(shape: Shape) -> list[str]:
    size = ["-p", "1", "-t", "100"] if shape == "naps" else ["-p", "2", "-t", "1"]
    return ["-m", "dramatiq", "dramatiq_app", "--skip-logging", *size]


def _huey(shape: Shape) -> list[str]:
    size = ["-k", "thread", "-w", "100"] if shape == "naps" else ["-k", "process", "-w", "2"]
    return ["-m", "huey.bin.huey_consumer", "huey_app.huey", "-n", "-q", *size]


def _taskiq(shape: Shape) -> list[str]:
    size = {"naps": ["-w", "1", "--max-async-tasks", "100"], "unbatched": ["-w", "2", "--max-async-tasks", "1"]}
    words = size.get(shape, ["-w", "2", "--max-async-tasks", "100", "--max-prefetch", "100"])
    return ["-m", "taskiq", "worker", "taskiq_app:broker", "--log-level", "WARNING", *words]


def _saq(shape: Shape) -> list[str]:
    return ["-m", "saq", "saq_app.settings", "-q", "--workers", "1" if shape == "naps" else "2"]


QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
CELERY = ("celery[redis]==5.7.*", "hiredis")

ENGINES = [
    Engine("sedano", "celery_app", (), ("sedano", "redis"), _celery_like("sedano", naps=("-P", "threads", "-c", "100")), 1.0,
        stores=("redis", "sqlite", "rabbitmq")),
    Engine(
        "bare loop", "celery_app", (), (), lambda shape: [str(CEILING)] if shape == "drain" else None, 1.0
    ),
    Engine(
        "celery", "celery_app", CELERY, ("celery", "kombu", "redis"),
        _celery_like("celery", naps=("-P", "threads", "-c", "100")), 0.05, stores=("redis", "rabbitmq"),
    ),
    Engine(
        "celery tuned", "celery_app", CELERY, ("celery", "kombu", "redis"),
        _celery_like("celery", *QUIET, naps=("-P", "threads", "-c", "100")), 0.05,
        tuned=lambda shape: {"BENCH_PREFETCH": "" if shape == "unbatched" else "128"}, stores=("redis", "rabbitmq"),
    ),
    Engine(
        "dramatiq", "dramatiq_app", ("dramatiq[redis,rabbitmq]==2.*", "hiredis"), ("dramatiq", "redis", "pika"), _dramatiq, 0.2,
        tuned=lambda shape: {"dramatiq_queue_prefetch": {"unbatched": "1", "naps": "200"}.get(shape, "1000")},
        stores=("redis", "rabbitmq"),
    ),
    Engine(
        "huey", "huey_app", ("huey==3.*", "redis", "hiredis"), ("huey", "redis"), _huey, 0.2,
        tuned=lambda shape: {"BENCH_WAITED": "1" if shape == "waited" else ""}, stores=("redis", "sqlite"),
    ),
    Engine(
        "taskiq", "taskiq_app", ("taskiq==0.13.*", "taskiq-redis==1.*", "hiredis", "uvloop"),
        ("taskiq", "taskiq-redis", "redis"), _taskiq, 0.1, often=False,
    ),
    Engine(
        "saq", "saq_app", ("saq[redis,hiredis]==0.26.*", "typing_extensions", "uvloop"), ("saq", "redis"), _saq, 0.1,
        often=False,
        tuned=lambda shape: {"BENCH_CONCURRENCY": {"unbatched": "1", "naps": "100"}.get(shape, "20")},
    ),
]  # fmt: skip

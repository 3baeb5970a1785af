"""Virtual environments with a real Celery, made once and kept.

They lie in a folder per recipe under SEDANO_TEST_CACHE, else under `sedano-tests` in the user's cache. Celery is never
installed beside the tests' own packages. Making one needs pip's package index; where that cannot be reached the tests fail and
say so, unless SEDANO_WITHOUT names celery. Several test processes may ask at once: one makes, the others wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.servers import is_left_out

ROOT = Path(__file__).resolve().parents[2]
COMPLETE = "complete"
START_S = 120.0

_SERIALIZERS = ("msgpack", "PyYAML", "brotli")
REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "5.4": ("celery[redis]==5.4.*", "kombu[redis]==5.4.*", "redis==5.*", *_SERIALIZERS, "zstandard"),
    "5.7": ("celery[redis]==5.7.*", "kombu[redis]==5.7.*", *_SERIALIZERS, "cryptography", "backports.zstd"),
}
"""Each Celery with the Kombu of its time: what goes over the wire is Kombu's, and pip would put the newest under the oldest."""

VERSIONS = tuple(REQUIREMENTS)


class EnvironmentFailed(Exception):
    """An environment could not be made; the text is what pip said."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """`name` is for people who look into the cache; `steps` are argument lists of `pip install`; `made_of` are files whose
    change makes it anew."""

    name: str
    steps: tuple[tuple[str, ...], ...]
    made_of: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        seal = hashlib.sha256(repr((self.steps, sys.version)).encode())
        for file in self.made_of:
            seal.update(file.read_bytes())
        return _cache() / f"{self.name}-{seal.hexdigest()[:12]}"


def celery(version: str) -> Recipe:
    """Celery `version` ("5.7", "5.4") with what it needs for Redis, and nothing of Sedano."""
    return Recipe(f"celery-{version}", (REQUIREMENTS[version],))


def celery_and_sedano(version: str = "5.7") -> Recipe:
    """Both in one environment, as in a project that is about to change. Sedano is this checkout, whatever it is by then."""
    return Recipe(
        f"celery-{version}-and-sedano",
        ((*REQUIREMENTS[version], "msgspec", "click", "rich"), ("--no-deps", "-e", str(ROOT))),
        made_of=(ROOT / "pyproject.toml", ROOT / "hatch_build.py"),
    )


def flower() -> Recipe:
    """Flower with what it needs and neither Celery nor Kombu: `import celery` is to mean Sedano, which is put on its path."""
    needs = ("tornado>=6.5,<7", "prometheus-client", "humanize", "pytz", "redis", "msgspec", "click", "rich")
    return Recipe("flower-2.2", (needs, ("--no-deps", "flower==2.2.*")))


def flower_of_celery(version: str = "5.7") -> Recipe:
    """Flower beside the Celery of its time: a monitor that knows nothing of Sedano."""
    return Recipe(f"flower-2.2-celery-{version}", ((*REQUIREMENTS[version], "flower==2.2.*"),))


def schedulers() -> Recipe:
    """django-celery-beat and celery-redbeat with what they need and neither Celery nor Kombu; Sedano is put on the path."""
    needs = ("Django>=5.2,<6", "django-timezone-field", "tzdata", "python-crontab", "cron-descriptor<2")
    more = ("redis", "python-dateutil", "tenacity", "msgspec", "click", "rich")
    return Recipe("schedulers", ((*needs, *more), ("--no-deps", "django-celery-beat==2.9.*", "celery-redbeat==2.4.*")))


def make(recipe: Recipe) -> Path:
    """The interpreter of the environment; makes it when it is not there. Raises EnvironmentFailed."""
    folder = recipe.folder
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)  # what an interrupted attempt left
            _run([sys.executable, "-m", "venv", str(folder)])
            for step in recipe.steps:
                _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *step])
            (folder / COMPLETE).touch()
    return python


def python_of(recipe: Recipe) -> Path:
    """As `make`, for tests: skips where Celery is left out, fails with pip's words."""
    if is_left_out("celery"):
        pytest.skip("SEDANO_WITHOUT names celery")
    try:
        return make(recipe)
    except EnvironmentFailed as failed:
        pytest.fail(f"{failed}\nSet SEDANO_WITHOUT=celery to leave these tests out.", pytrace=False)


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python of its own in which programs run."""

    version: str
    python: Path

    def run(self, code: str, *, folder: Path, variables: Mapping[str, str], timeout_s: float = 120.0) -> str:
        """What the program `code` prints; fails the test with its errors when it does not end well."""
        done = subprocess.run(
            [self.python, "-c", code],
            cwd=folder,
            env=clean_environment(variables),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"in the environment of Celery {self.version}: {done.stderr}", pytrace=False)
        return done.stdout.strip()

    @contextlib.contextmanager
    def worker(
        self, *arguments: str, app: str, folder: Path, variables: Mapping[str, str], log: Path
    ) -> Generator[subprocess.Popen[bytes]]:
        """A Celery worker, from its "ready" line on. Killed at the end, its pool with it."""
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [self.python, "-m", "celery", "-A", app, "worker", "-l", "info", *arguments],
                cwd=folder,
                env=clean_environment(variables),
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + START_S
            while b" ready." not in log.read_bytes():
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the Celery {self.version} worker does not start: {log.read_text()}", pytrace=False)
                time.sleep(0.05)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()


def celery_environment(version: str) -> Environment:
    """The environment with Celery `version` ("5.7", "5.4"), made now if it is not there yet."""
    return Environment(version, python_of(celery(version)))


def clean_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The test's own environment without what steers an engine or an interpreter, and `variables`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SEDANO_", "CELERY_", "PYTHON"))}
    return {**inherited, **variables}


def _cache() -> Path:
    chosen = os.environ.get("SEDANO_TEST_CACHE")
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else users / "sedano-tests"


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentFailed(
            f"cannot make an environment with Celery ({' '.join(command[-3:])}): {(done.stdout + done.stderr)[-3000:]}"
        )

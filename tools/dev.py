"""What `./dev` does: sets up a `.venv` inside the checkout and runs one chore in it. Standard library only."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / "python"

# What the tests start for themselves, and the Debian package that brings it.
PROGRAMS = {
    "redis": ("redis-server", "redis-server"),
    "rabbitmq": ("rabbitmq-server", "rabbitmq-server"),
    "strace": ("strace", "strace"),
}

# The extras whose code is tested and type-checked here.
EXTRAS = ("redis", "msgpack", "yaml", "auth", "pydantic", "brotli", "zstd", "solar")

# Tests side by side on each core: most of what they do is wait, for processes to start and for times to come.
PER_CORE = 3
# So many failed tests get a second try; more are no accident.
MOST_RETRIED = 8


def say(text: str) -> None:
    print(f"dev: {text}", file=sys.stderr, flush=True)


def fail(text: str) -> None:
    say(text)
    raise SystemExit(1)


def run(command: Sequence[str | Path], **environment: str) -> int:
    return subprocess.call([str(word) for word in command], cwd=ROOT, env={**os.environ, **environment})


def must(command: Sequence[str | Path], **environment: str) -> None:
    code = run(command, **environment)
    if code:
        raise SystemExit(code)


# -- setting up -------------------------------------------------------------------------------------------------------


def install_debian(packages: Sequence[str], why: str) -> bool:
    """Install Debian packages after saying so; asks first at a terminal. False when that is not possible here."""
    if shutil.which("apt-get") is None:
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and (shutil.which("sudo") is None or subprocess.call([*sudo, "true"], stderr=subprocess.DEVNULL) != 0):
        return False
    say(f"{why}: installing the Debian package(s) {' '.join(packages)}")
    if sys.stdin is not None and sys.stdin.isatty() and "CI" not in os.environ:
        answer = input(f"Install {' '.join(packages)} with apt-get now? [Y/n] ").strip().lower()
        if answer not in ("", "y", "yes"):
            return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.call([*sudo, "apt-get", "install", "-y", "-q", *packages], env=environment, stdout=sys.stderr) == 0:
        return True
    subprocess.call([*sudo, "apt-get", "update", "-q"], env=environment, stdout=sys.stderr)
    return subprocess.call([*sudo, "apt-get", "install", "-y", "-q", *packages], env=environment, stdout=sys.stderr) == 0


def make_venv() -> None:
    if PYTHON.exists() and subprocess.call([str(PYTHON), "-m", "pip", "--version"], stdout=subprocess.DEVNULL) == 0:
        return
    say("making .venv")
    shutil.rmtree(VENV, ignore_errors=True)
    command = [sys.executable, "-m", "venv", str(VENV)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode == 0:
        return
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    shutil.rmtree(VENV, ignore_errors=True)
    if install_debian([package], "this Python cannot make virtual environments (Debian keeps that apart)"):
        must(command)
        return
    say((made.stdout + made.stderr).strip())
    fail(f"this Python cannot make a virtual environment. On Debian or Ubuntu: apt-get install {package}; then try again.")


def wanted(groups: Sequence[str], extras: Sequence[str]) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = [package for group in groups for package in project["dependency-groups"][group]]
    return [f"-e{ROOT}[{','.join(extras)}]" if extras else f"-e{ROOT}", *packages]


def set_up(groups: Sequence[str] = (), extras: Sequence[str] = ()) -> None:
    """Install the checkout (editable) with `groups` and `extras`, unless that was done for this pyproject already."""
    make_venv()
    what = wanted(groups, extras)
    mark = VENV / ("set-up-" + "-".join([*groups, *extras] or ["plain"]))
    seal = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + repr((what, sys.version)).encode()).hexdigest()
    if mark.exists() and mark.read_text() == seal:
        return
    say("installing " + ", ".join(word.removeprefix(f"-e{ROOT}") or "sedano" for word in what))
    must([PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", *what])
    mark.write_text(seal)


def need_programs(without: Sequence[str]) -> None:
    """See that the programs the tests start are there; a missing one is installed, or named and fatal."""
    known = [*PROGRAMS, "celery", "frameworks"]
    unknown = set(without) - set(known)
    if unknown:
        fail(f"--without {', '.join(sorted(unknown))}: known are {', '.join(known)}")
    for name, (program, package) in PROGRAMS.items():
        if name in without or shutil.which(program):
            continue
        if not install_debian([package], f"the tests start {program} and there is none here") or not shutil.which(program):
            fail(f"{program} is missing: install it (apt-get install {package}), or leave its tests out: --without {name}")


# -- chores -----------------------------------------------------------------------------------------------------------


def demo(arguments: Sequence[str]) -> int:
    """Set up and do real work in parallel with no server: read every file of Python's standard library."""
    extras = ["redis"] if any("redis" in word for word in arguments) else []
    set_up(extras=extras)
    return run([PYTHON, "examples/stdlib_report/run.py", *arguments])


def test(arguments: Sequence[str]) -> int:
    """Run the tests; `--all`: long ones, faults, a soak; `--without redis|rabbitmq|celery|frameworks`; the rest: pytest's."""
    parser = argparse.ArgumentParser(prog="./dev test", add_help=False)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--without", action="append", default=[])
    known, rest = parser.parse_known_args(arguments)
    need_programs(known.without)
    set_up(["test", "check"], EXTRAS)
    environment = {
        "SEDANO_WITHOUT": ",".join(known.without),
        "SEDANO_TEST_CACHE": os.environ.get("SEDANO_TEST_CACHE", str(VENV / "test-environments")),
    }
    if known.all:
        environment["SEDANO_LONG"] = "1"
    if known.without:
        say(f"left out on request: everything that needs {', '.join(known.without)}")
    # Where Python is told to write no bytecode, each of the thousands of processes to come would compile it for itself.
    run([PYTHON, "-m", "compileall", "-q", "src"])
    codes = [pytest(rest, environment)]
    if known.all and not rest:
        codes.append(run([PYTHON, "-m", "tests.faults.matrix", "--quick"], **environment))
        codes.append(run([PYTHON, "-m", "tests.faults.soak", "--minutes", "10"], **environment))
    return max(codes)


def pytest(rest: Sequence[str], environment: dict[str, str]) -> int:
    """Run the tests side by side; a few that fail get one more try, alone, and are named whatever comes of it.

    Most tests here start real processes and servers. On a machine that is too busy one of thousands may run out of patience; a
    broken test fails the second time too.
    """
    with tempfile.TemporaryDirectory() as folder:
        failures = Path(folder) / "failures"
        code = run(
            [PYTHON, "-m", "pytest", "-q", "-n", str(PER_CORE * (os.cpu_count() or 2)), "--dist", "worksteal", *rest],
            SEDANO_FAILURES_FILE=str(failures),
            PYTHONDONTWRITEBYTECODE="",  # of the test modules it is worth it: see tests/conftest.py
            **environment,
        )
        failed = list(dict.fromkeys(failures.read_text().splitlines())) if failures.exists() else []
    if code != 1 or not 0 < len(failed) <= MOST_RETRIED:
        return code
    say(f"{len(failed)} failed beside the others; once more, alone:\n  " + "\n  ".join(failed))
    code = run([PYTHON, "-m", "pytest", "-q", "-n", "0", *failed], **environment)
    if code == 0:
        say("PASSED AT THE SECOND TRY, mend what makes them waver:\n  " + "\n  ".join(failed))
    return code


def check(arguments: Sequence[str]) -> int:
    """Formatter, linter, both type checkers, the arrows between rooms."""
    del arguments
    set_up(["test", "check"], EXTRAS)
    codes = [
        run([BIN / "ruff", "format", "--check", "."]),
        run([BIN / "ruff", "check", "."]),
        run([BIN / "mypy"]),
        run([BIN / "mypy", "-p", "tests.faults.matrix", "-p", "tests.faults.soak"]),
        run([BIN / "pyright"]),
        run([BIN / "lint-imports", "--no-logo"]),
    ]
    return max(codes)


def fix(arguments: Sequence[str]) -> int:
    """Format, and mend what the linter can mend."""
    del arguments
    set_up(["test", "check"], EXTRAS)
    return max(run([BIN / "ruff", "format", "."]), run([BIN / "ruff", "check", "--fix", "."]))


def bench(arguments: Sequence[str]) -> int:
    """Run the benchmarks beside Celery in one run; see benchmarks/README.md."""
    need_programs(["strace"])
    set_up(extras=["redis"])
    environment = {"SEDANO_TEST_CACHE": os.environ.get("SEDANO_TEST_CACHE", str(VENV / "test-environments"))}
    return run([PYTHON, "benchmarks/run.py", *arguments], **environment)


def faults(arguments: Sequence[str]) -> int:
    """Run the fault matrix and write its tables into docs/reliability.md; `--quick`, `--store S`, `--fault F`."""
    need_programs(["strace"])
    set_up(["test"], ["redis"])
    return run([PYTHON, "-m", "tests.faults.matrix", *arguments])


def fuzz(arguments: Sequence[str]) -> int:
    """Feed every decoder with anything, a minute each: `./dev fuzz [SECONDS]`, `--target T`."""
    set_up(["test"], EXTRAS)
    if subprocess.call([str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted(["fuzz"], [])]):
        say("atheris, which guides a fuzzer by coverage, is not to be had for this Python: going on without")
    return run([PYTHON, "-m", "tests.fuzz", *arguments])


def soak(arguments: Sequence[str]) -> int:
    """Run mixed calls with a kill every few seconds for an hour; `--minutes M`, `--store S`."""
    need_programs(["strace"])
    set_up(["test"], ["redis"])
    return run([PYTHON, "-m", "tests.faults.soak", *arguments])


def docs(arguments: Sequence[str]) -> int:
    """Write the generated reference pages anew."""
    set_up()
    return run([PYTHON, "-m", "sedano.settings.reference", *arguments])


CHORES = {
    "demo": demo, "test": test, "check": check, "fix": fix, "bench": bench, "faults": faults, "soak": soak, "fuzz": fuzz,
    "docs": docs,
}  # fmt: skip


def main(words: Sequence[str]) -> int:
    if not words or words[0] in ("help", "-h", "--help"):
        for name, chore in CHORES.items():
            print(f"  ./dev {name:<6} {chore.__doc__}")
        return 0
    chore = CHORES.get(words[0])
    if chore is None:
        say(f"there is no chore {words[0]!r}; there are: {', '.join(CHORES)}")
        return 2
    return chore(words[1:])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

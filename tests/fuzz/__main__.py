"""`./dev fuzz [SECONDS]`: each target for so long, in a process of its own, guided by coverage."""

from __future__ import annotations

import argparse
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]


def blindly(target: str, seconds: int, folder: Path) -> None:
    """Where there is no atheris for this Python: changes at random."""
    whole, chance, until, tries = seeds(target), random.Random(), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data = mutated(whole, chance)
        (folder / "crash-last").write_bytes(data)
        TARGETS[target](data)
        tries += 1
    (folder / "crash-last").unlink(missing_ok=True)
    print(f"{tries} inputs")


def is_guided() -> bool:
    return importlib.util.find_spec("atheris") is not None


def run(target: str, seconds: int, keep: Path) -> bool:
    """Whether nothing was found."""
    with tempfile.TemporaryDirectory(prefix="sedano-fuzz-") as folder:
        blind = [sys.executable, "-m", "tests.fuzz", str(seconds), "--target", target, "--folder", folder]
        command = [sys.executable, "-m", "tests.fuzz.guided", target, str(seconds), folder] if is_guided() else blind
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False, timeout=seconds * 2 + 120
            )
        except subprocess.TimeoutExpired:
            print(f"WRONG    {target}: it hangs")
            return False
        if done.returncode == 0:
            tries = [
                line for line in (done.stderr + done.stdout).splitlines() if "number_of_executed" in line or "inputs" in line
            ]
            print(f"good     {target}: {tries[-1].split(':')[-1].strip() if tries else 'done'}", flush=True)
            return True
        keep.mkdir(parents=True, exist_ok=True)
        for found in Path(folder).glob("*-*"):
            (keep / f"{target}-{found.name}").write_bytes(found.read_bytes())
        (keep / f"{target}.log").write_text(done.stdout + done.stderr)
        said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(("INFO", "stat::", "#"))]
        print(f"WRONG    {target}: the input is kept in {keep}\n         " + "\n         ".join(said[-25:]), flush=True)
        return False


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev fuzz", description="Feed the decoders with anything.")
    parser.add_argument("seconds", nargs="?", type=int, default=60, help="for each target (60)")
    parser.add_argument("--target", action="append", choices=list(TARGETS))
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "sedano-fuzz", help="what it has found")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.folder is not None:
        blindly(asked.target[0], asked.seconds, asked.folder)
        return 0
    if not is_guided():
        print("there is no atheris for this Python: inputs are changed at random, not guided by coverage", flush=True)
    good = [run(target, asked.seconds, asked.keep) for target in asked.target or TARGETS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

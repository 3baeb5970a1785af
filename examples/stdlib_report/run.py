"""The demo: start a worker, give it a call for every source file of this Python's standard library, show what comes back.

./dev demo                                     no server: the embedded store
./dev demo --broker redis://localhost:6379/0   the same work through Redis, in Celery's format
"""

from __future__ import annotations

import argparse
import collections
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from sedano.exceptions import TimeoutError as ResultTimeout  # noqa: E402
from sedano.result import AsyncResult  # noqa: E402

from tasks import Findings, app, study  # noqa: E402 - found beside this file

console = Console(highlight=False, soft_wrap=True)


def source_files(limit: int | None) -> list[Path]:
    """Every Python source file of the running interpreter's standard library, without what pip installed beside it."""
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in library.rglob("*.py") if "site-packages" not in path.parts)
    return files[:limit]


def start_worker(concurrency: int, log: Path, broker: str | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sedano"]
    if broker:
        command += ["--broker", broker, "--result-backend", broker]
    command += ["-A", "tasks", "worker", "-l", "info", "-c", str(concurrency)]
    console.print(f"[bold]worker[/bold]    $ {shlex.join(['sedano', *command[3:]])}   [dim](log: {log})[/dim]")
    return subprocess.Popen(command, cwd=HERE, stdout=log.open("wb"), stderr=subprocess.STDOUT)


def collect(
    waiting: dict[str, AsyncResult[Findings]], worker: subprocess.Popen[bytes], timeout_s: float
) -> tuple[list[Findings], list[str]]:
    """Wait for every call; shows the progress. Returns findings and the failed calls' errors."""
    found: list[Findings] = []
    failed: list[str] = []
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:>9}"),
        TimeElapsedColumn(),
    )
    started = time.monotonic()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("reading", total=len(waiting), rate="")
        for path, result in waiting.items():
            while True:
                try:
                    found.append(result.get(timeout=5))
                except (SyntaxError, UnicodeDecodeError, ValueError) as error:
                    failed.append(f"{path}: {type(error).__name__}: {error}")
                except ResultTimeout:
                    if worker.poll() is not None:
                        raise SystemExit(f"the worker ended with code {worker.returncode}; its log tells why") from None
                    if time.monotonic() - started > timeout_s:
                        raise SystemExit(f"no result for {path} within {timeout_s:.0f} s") from None
                    continue
                break
            done = len(found) + len(failed)
            progress.update(bar, completed=done, rate=f"{done / (time.monotonic() - started):,.0f}/s")
    return found, failed


def report(found: list[Findings], failed: list[str], seconds: float, concurrency: int) -> None:
    imports = collections.Counter(name for findings in found for name in findings["imports"])
    longest = sorted(
        (
            (findings["longest"]["lines"], findings["longest"]["name"], findings["path"])
            for findings in found
            if findings["longest"]
        ),
        reverse=True,
    )
    table = Table(title="the ten longest functions", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("lines", justify="right")
    table.add_column("function", style="bold")
    table.add_column("file", style="dim", overflow="fold")
    library = sysconfig.get_path("stdlib")
    for lines, name, path in longest[:10]:
        table.add_row(str(lines), name, os.path.relpath(path, library))
    console.print()
    console.print(table)
    console.print()
    favourites = ", ".join(f"{name} ({count})" for name, count in imports.most_common(8))
    console.print(f"[bold]most imported[/bold]  {favourites}")
    totals = {key: sum(findings[key] for findings in found) for key in ("lines", "functions", "classes")}
    console.print(
        f"[bold]totals[/bold]         {len(found):,} files, {totals['lines']:,} lines, "
        f"{totals['functions']:,} functions, {totals['classes']:,} classes"
    )
    if failed:
        console.print(
            f"[bold]failed[/bold]         {len(failed)} calls ended in FAILURE, as they should: "
            "the library ships files with wrong syntax to test itself"
        )
        for line in failed[:3]:
            console.print(f"               [dim]{line[:110]}[/dim]")
    done = len(found) + len(failed)
    console.print(
        f"[bold green]done[/bold green]           {done:,} tasks in {seconds:.2f} s with {concurrency} processes: "
        f"[bold]{done / seconds:,.0f} tasks per second[/bold]"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--broker", help="a broker URL; the default is the embedded store")
    parser.add_argument("--concurrency", type=int, default=os.cpu_count() or 2, help="worker processes (default: one per CPU)")
    parser.add_argument("--limit", type=int, help="read only so many files")
    options = parser.parse_args()
    if options.broker:
        app.conf.update(broker_url=options.broker, result_backend=options.broker)

    files = source_files(options.limit)
    console.print(f"[bold]input[/bold]     {len(files):,} Python files in {sysconfig.get_path('stdlib')}")
    log = Path(tempfile.mkdtemp(prefix="sedano-demo-")) / "worker.log"
    worker = start_worker(options.concurrency, log, options.broker)
    try:
        started = time.monotonic()
        waiting = {str(path): study.delay(str(path)) for path in files}
        sent = time.monotonic() - started
        console.print(f"[bold]sent[/bold]      {len(waiting):,} calls in {sent:.2f} s ({len(waiting) / sent:,.0f} per second)")
        found, failed = collect(waiting, worker, timeout_s=600)
        seconds = time.monotonic() - started
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(timeout=30)
    report(found, failed, seconds, options.concurrency)
    if not options.broker:
        console.print(
            "\nThe same work through Redis, in Celery's own format (a Celery worker could join in):\n"
            "  [bold]./dev demo --broker redis://localhost:6379/0[/bold]"
        )
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())

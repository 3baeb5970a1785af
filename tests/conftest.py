"""Which tests run: the long ones only with SEDANO_LONG=1 (`./dev test --all`). How failures are shown: a node's log can be
long, and a report that is longer than a screen or two hides the next one. Which ones failed, for their second try. How
Hypothesis looks at time. That no bytecode is kept of what tests write."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings
from tests.rabbit import breakable_rabbit, own_rabbit, rabbit_server, rabbit_url

__all__ = ["breakable_rabbit", "own_rabbit", "rabbit_server", "rabbit_url"]

MOST_LINES = 120

# How long an example takes says nothing where several tests share a processor.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # All test modules are read. What tests write, import and write anew within one second must not be remembered.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    if os.environ.get("SEDANO_LONG"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in set(long)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and not os.environ.get("SEDANO_WHOLE_REPORTS"):
        text = str(report.longrepr)
        if text.count("\n") > MOST_LINES:
            report.longrepr = shortened(text)
        report.sections = [(title, shortened(content)) for title, content in report.sections]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell `./dev test` which tests failed."""
    path = os.environ.get("SEDANO_FAILURES_FILE")
    if path and report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(path, "a") as failures:
            failures.write(f"{report.nodeid}\n")


def shortened(text: str) -> str:
    """`text` without its middle, and with no line that fills a screen."""
    lines = [line if len(line) < 2000 else f"{line[:1500]} … {line[-400:]}" for line in text.splitlines()]
    if len(lines) > MOST_LINES:
        left_out = len(lines) - MOST_LINES
        lines[MOST_LINES // 2 : -MOST_LINES // 2] = [f"… {left_out} lines: run with SEDANO_WHOLE_REPORTS=1 to see them …"]
    return "\n".join(lines)

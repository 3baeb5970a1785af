"""What docs/how-to/run-in-production.md and its examples show is what there is."""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from sedano.cli.group import cli
from sedano.settings import OPTIONS
from sedano.worker.metrics import METRICS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "run-in-production.md"
UNIT = ROOT / "examples" / "systemd" / "sedano.service"
MANIFEST = ROOT / "examples" / "kubernetes" / "worker.yaml"


def parsed(words: list[str]) -> tuple[str, dict[str, Any], list[str]]:
    """(command, its options, settings behind --) of a command line of `sedano`; raises for what is wrong in it."""
    assert Path(words[0]).name == "sedano"
    with cli.make_context("sedano", words[1:]) as above:
        name, command, rest = cli.resolve_command(above, [*above._protected_args, *above.args])
        assert isinstance(command, click.Command)
        with command.make_context(name, rest, parent=above) as ctx:
            return str(name), ctx.params, ctx.args


def test_the_table_of_metrics_is_that_of_the_code():
    rows = re.findall(r"^\| `(sedano_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [
        (each.name, each.kind, ", ".join(f"`{label}`" for label in each.labels) or "-", each.sentence) for each in METRICS
    ]


def test_the_unit_starts_a_worker_that_can_be_and_stops_it_later_than_it_drains():
    unit = configparser.RawConfigParser(strict=False, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    name, options, settings = parsed(shlex.split(service["ExecStart"].replace("%%", "%")))
    assert name == "worker"
    assert options["http"].startswith("unix:/run/" + service["RuntimeDirectory"])
    assert int(service["TimeoutStopSec"]) > _drain_s(settings)
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed"


def containers() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for document in yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8")):
        if document["kind"] == "Deployment":
            pod = document["spec"]["template"]["spec"]
            yield pod, pod["containers"][0]


def test_the_manifest_starts_workers_that_can_be_and_waits_longer_than_they_drain():
    found = list(containers())
    assert len(found) == 2
    for pod, container in found:
        name, options, settings = parsed([*container["command"], *container["args"]])
        assert name == "worker"
        assert options["http"]
        assert pod["terminationGracePeriodSeconds"] > _drain_s(settings)


@pytest.mark.parametrize("number", [0, 1])
def test_the_probes_of_the_manifest_ask_what_the_worker_answers(number: int):
    _, container = list(containers())[number]
    _, options, _ = parsed([*container["command"], *container["args"]])
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container[kind]
        if "exec" in probe:
            name, asked, _ = parsed(probe["exec"]["command"])
            assert name == "health"
            assert asked["http"] == options["http"]
            assert asked["live"] is (kind == "livenessProbe")
        else:
            assert probe["httpGet"]["path"] == ("/livez" if kind == "livenessProbe" else "/readyz")
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            assert options["http"].endswith(f":{ports[probe['httpGet']['port']]}")


def test_the_manifest_scales_by_a_metric_that_there_is():
    text = MANIFEST.read_text(encoding="utf-8")
    assert set(re.findall(r"\bsedano_[a-z_]+", text)) <= {metric.name for metric in METRICS}
    scaled = [each for each in yaml.safe_load_all(text) if each["kind"] == "ScaledObject"]
    assert scaled[0]["spec"]["triggers"][0]["metadata"]["query"].startswith("max(sedano_workers_wanted")


def _drain_s(settings: list[str]) -> float:
    given = dict(word.split("=", 1) for word in settings)
    assert given.keys() <= OPTIONS.keys()
    return float(given["worker_drain_timeout"])

"""The import paths that programs and Flower use, and what stands behind them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from sedano.compat import celery_local, celery_platforms, celery_utils_functional, celery_utils_imports, celery_utils_text
from sedano.compat import celery_utils_time as times
from sedano.compat import kombu_encoding as encoding

NAMES = {
    "celery.apps.beat": "Beat",
    "celery.apps.worker": "Worker",
    "celery.backends.base": "Backend BaseBackend DisabledBackend KeyValueStoreBackend",
    "celery.beat": "SchedulingError ScheduleEntry Scheduler PersistentScheduler Service BeatPidbox EmbeddedService "
    "BeatLazyFunc DEFAULT_MAX_INTERVAL event_t beat_nodename",
    "celery.bin.base": "CLIContext CeleryCommand CeleryDaemonCommand CeleryOption handle_preload_options COMMA_SEPARATED_LIST "
    "JSON_ARRAY JSON_OBJECT ISO8601 ISO8601_OR_FLOAT LOG_LEVEL",
    "celery.bin.beat": "beat",
    "celery.bin.celery": "celery main",
    "celery.bin.worker": "worker",
    "celery.bootsteps": "Step StartStopStep ConsumerStep Blueprint RUN CLOSE TERMINATE",
    "celery.contrib.abortable": "ABORTED AbortableAsyncResult AbortableTask",
    "celery.local": "Proxy PromiseProxy maybe_evaluate try_import",
    "celery.platforms": "EX_OK EX_FAILURE EX_USAGE EX_UNAVAILABLE Pidfile signals signal_name IS_WINDOWS IS_macOS LockFailed",
    "celery.contrib.rdb": "Rdb debugger set_trace",
    "celery.utils.abstract": "CallableSignature CallableTask",
    "celery.utils.collections": "AttributeDict ChainMap ConfigurationView DictAttribute LRUCache LimitedSet",
    "celery.utils.debug": "memdump sample_mem",
    "celery.utils.functional": "LRUCache chunks first head_from_fun maybe_list memoize noop regen uniq",
    "celery.utils.graph": "DependencyGraph",
    "celery.utils.imports": "cwd_in_path gen_task_name import_from_cwd instantiate qualname symbol_by_name",
    "celery.utils.iso8601": "parse_iso8601",
    "celery.utils.objects": "Bunch FallbackContext",
    "celery.utils.serialization": "UnpickleableExceptionWrapper b64encode get_pickleable_exception jsonify strtobool",
    "celery.utils.sysinfo": "cpu_budget df load_average",
    "celery.utils.term": "colored",
    "celery.utils.threads": "LocalStack bgThread",
    "celery.utils.timer2": "Timer",
    "celery.worker.autoscale": "Autoscaler WorkerComponent",
    "celery.worker.heartbeat": "Heart",
    "celery.utils.nodenames": "default_nodename gethostname host_format node_format nodename nodesplit worker_direct",
    "celery.utils.saferepr": "saferepr",
    "celery.utils.text": "abbr indent pluralize str_to_list truncate",
    "celery.utils.time": "humanize_seconds is_naive localize make_aware maybe_make_aware rate remaining timezone to_utc",
    "celery.worker.consumer": "Consumer",
    "celery.worker.control": "Panel control_command inspect_command",
    "celery.worker.request": "Request",
    "kombu.exceptions": "ConnectionError OperationalError",
    "kombu.utils": "symbol_by_name cached_property uuid",
    "kombu.utils.objects": "cached_property",
    "kombu.utils.url": "maybe_sanitize_url",
    "kombu.utils.encoding": "bytes_to_str safe_repr safe_str str_to_bytes",
}


def test_the_paths_have_their_names() -> None:
    code = (
        "import sedano.as_celery, importlib, json, sys\n"
        "for module, names in json.load(sys.stdin).items():\n"
        "    parent, _, child = module.rpartition('.')\n"
        "    exec(f'from {parent} import {child}')\n"
        "    for name in names.split():\n"
        "        if not hasattr(importlib.import_module(module), name): print(module, name)\n"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, input=json.dumps(NAMES), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "1.50 minutes"), (60, "1.00 minute"), (7200, "2.00 hours"), (172800, "2.00 days"), (0.2, "now")]
)
def test_seconds_for_people(seconds: float, text: str) -> None:
    assert times.humanize_seconds(seconds) == text


def test_times() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert times.rate("10/m") == pytest.approx(10 / 60)
    assert (times.rate(None), times.rate("0/s"), times.rate(5), times.rate("5/s")) == (0, 0, 5, 5)
    assert times.remaining(noon, timedelta(hours=1), now=noon) == timedelta(hours=1)
    assert times.remaining(noon, timedelta(minutes=7), now=noon + timedelta(minutes=10)) == timedelta(minutes=-3)
    assert times.remaining(noon, timedelta(seconds=90), now=noon, relative=True) == timedelta(minutes=1)
    assert times.maybe_make_aware(datetime(2026, 1, 1, 12)) == noon
    assert times.maybe_iso8601("2026-01-01T12:00:00+00:00") == noon
    assert times.timezone.to_local(noon, times.timezone.get_timezone("Europe/Rome")).hour == 13
    assert times.get_exponential_backoff_interval(2, 3, 600) == 16
    assert times.get_exponential_backoff_interval(2, 30, 600) == 600


def test_small_tools() -> None:
    assert list(celery_utils_functional.chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(celery_utils_functional.uniq([1, 2, 1])) == [1, 2]
    assert list(celery_utils_functional.padlist([1], 3)) == [1, None, None]
    assert celery_utils_functional.maybe_list("a") == ["a"]
    assert celery_utils_functional.first(lambda number: number > 1, [1, 2, 3]) == 2
    assert celery_utils_imports.qualname(timedelta(1)) == "datetime.timedelta"
    assert celery_utils_imports.instantiate("datetime:timedelta", 1) == timedelta(1)
    assert celery_utils_text.truncate("one two three", 9) == "one two..."
    assert celery_utils_text.abbr("abcdefgh", 5) == "ab..."
    assert celery_utils_text.pluralize(2, "node") == "nodes"
    assert encoding.safe_str(b"\xff") == "\ufffd"
    assert celery_platforms.signals.signum("TERM") == celery_platforms.signals.signum("SIGTERM") == 15
    assert celery_platforms.signal_name(9) == "SIGKILL"


def test_proxies() -> None:
    made: list[list[int]] = []

    def make() -> list[int]:
        made.append([1])
        return made[-1]

    proxy, promise = celery_local.Proxy(make), celery_local.PromiseProxy(make)
    assert (proxy == [1], proxy == [1], len(made)) == (True, True, 2)
    promise.append(2)
    assert promise == [1, 2]
    assert promise[0] == 1
    assert len(made) == 3
    assert celery_local.maybe_evaluate(promise) is made[-1]
    assert celery_local.try_import("no.such.module", 5) == 5

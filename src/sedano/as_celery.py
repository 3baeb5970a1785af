"""`import celery` means Sedano. Importing this module turns it on, for the whole process.

Four ways to turn it on:

    import sedano.as_celery                         first thing in a program
    python -m sedano.as_celery script.py ARGS       or: python -m sedano.as_celery -m module ARGS
    SEDANO_AS_CELERY=1 python app.py                child processes too; a `.pth` line of the installation looks at it
    sedano -A proj worker                           the `sedano` command does it before it loads `-A`; `--no-alias` does not

It wins even where the real Celery is installed, and then says so in one log line. `import kombu` is answered from here only
where Kombu is not installed; what we do not offer says what to do.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import os
import runpy
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Any

from sedano import signals

_logger = logging.getLogger("celery.as_celery")
_UID = "sedano.as_celery"

# Celery's module -> ours. A module of ours appears under both names: `celery.exceptions.Retry is sedano.exceptions.Retry`.
CELERY: dict[str, str] = {
    "celery": "sedano.compat.celery",
    "celery.app": "sedano.compat.celery_app",
    "celery.app.base": "sedano.app.base",
    "celery.app.control": "sedano.app.control",
    "celery.app.events": "sedano.app.events",
    "celery.app.log": "sedano.compat.celery_app_log",
    "celery.app.task": "sedano.app.task",
    "celery.app.registry": "sedano.app.registry",
    "celery.__main__": "sedano.cli.bin_celery",
    "celery.apps": "sedano.compat.celery_apps",
    "celery.apps.beat": "sedano.compat.celery_apps_beat",
    "celery.apps.worker": "sedano.compat.celery_apps_worker",
    "celery.backends": "sedano.compat.celery_backends",
    "celery.backends.base": "sedano.compat.celery_backends",
    "celery.beat": "sedano.beat",
    "celery.bin": "sedano.compat.celery_bin",
    "celery.bin.base": "sedano.cli.bin_base",
    "celery.bin.beat": "sedano.cli.beat",
    "celery.bin.celery": "sedano.cli.bin_celery",
    "celery.bin.worker": "sedano.cli.worker",
    "celery.bootsteps": "sedano.worker.bootsteps",
    "celery.canvas": "sedano.compat.celery_canvas",
    "celery.concurrency": "sedano.compat.celery_concurrency",
    "celery.concurrency.base": "sedano.compat.celery_concurrency",
    "celery.concurrency.asynpool": "sedano.compat.celery_concurrency_pools",
    "celery.concurrency.eventlet": "sedano.compat.celery_concurrency_eventlet",
    "celery.concurrency.gevent": "sedano.compat.celery_concurrency_gevent",
    "celery.concurrency.prefork": "sedano.compat.celery_concurrency_prefork",
    "celery.concurrency.solo": "sedano.compat.celery_concurrency_solo",
    "celery.concurrency.thread": "sedano.compat.celery_concurrency_thread",
    "celery.contrib": "sedano.compat.celery_contrib",
    "celery.contrib.abortable": "sedano.compat.celery_contrib_abortable",
    "celery.contrib.pytest": "sedano.compat.celery_contrib_pytest",
    "celery.contrib.rdb": "sedano.compat.celery_contrib_rdb",
    "celery.contrib.testing": "sedano.compat.celery_contrib_testing",
    "celery.contrib.testing.app": "sedano.compat.celery_contrib_testing_app",
    "celery.contrib.testing.manager": "sedano.compat.celery_contrib_testing_manager",
    "celery.contrib.testing.mocks": "sedano.compat.celery_contrib_testing_mocks",
    "celery.contrib.testing.tasks": "sedano.compat.celery_contrib_testing_tasks",
    "celery.contrib.testing.worker": "sedano.compat.celery_contrib_testing_worker",
    "celery.events": "sedano.events",
    "celery.events.cursesmon": "sedano.compat.celery_events_cursesmon",
    "celery.events.dispatcher": "sedano.events.dispatcher",
    "celery.events.dumper": "sedano.events.dumper",
    "celery.events.event": "sedano.events.event",
    "celery.events.receiver": "sedano.events.receiver",
    "celery.events.snapshot": "sedano.events.snapshot",
    "celery.events.state": "sedano.events.state",
    "celery.exceptions": "sedano.exceptions",
    "celery.local": "sedano.compat.celery_local",
    "celery.platforms": "sedano.compat.celery_platforms",
    "celery.result": "sedano.result",
    "celery.schedules": "sedano.schedules",
    "celery.security": "sedano.compat.celery_security",
    "celery.security.certificate": "sedano.app.security",
    "celery.security.key": "sedano.app.security",
    "celery.security.serialization": "sedano.app.security",
    "celery.signals": "sedano.signals",
    "celery.states": "sedano.states",
    "celery.utils": "sedano.compat.celery_utils",
    "celery.utils.abstract": "sedano.compat.celery_utils_abstract",
    "celery.utils.debug": "sedano.compat.celery_utils_debug",
    "celery.utils.dispatch": "sedano.signals",
    "celery.utils.collections": "sedano.compat.celery_utils_collections",
    "celery.utils.functional": "sedano.compat.celery_utils_functional",
    "celery.utils.graph": "sedano.result.graph",
    "celery.utils.imports": "sedano.compat.celery_utils_imports",
    "celery.utils.iso8601": "sedano.compat.celery_utils_objects",
    "celery.utils.log": "sedano.log",
    "celery.utils.nodenames": "sedano.compat.celery_utils_nodenames",
    "celery.utils.objects": "sedano.compat.celery_utils_objects",
    "celery.utils.saferepr": "sedano.protocol.saferepr",
    "celery.utils.serialization": "sedano.compat.celery_utils_serialization",
    "celery.utils.sysinfo": "sedano.compat.celery_utils_sysinfo",
    "celery.utils.term": "sedano.compat.celery_utils_term",
    "celery.utils.text": "sedano.compat.celery_utils_text",
    "celery.utils.threads": "sedano.compat.celery_utils_threads",
    "celery.utils.time": "sedano.compat.celery_utils_time",
    "celery.utils.timer2": "sedano.compat.celery_utils_timer2",
    "celery.worker": "sedano.compat.celery_worker",
    "celery.worker.autoscale": "sedano.compat.celery_worker_parts",
    "celery.worker.consumer": "sedano.worker.consumer",
    "celery.worker.control": "sedano.compat.celery_worker",
    "celery.worker.heartbeat": "sedano.compat.celery_worker_parts",
    "celery.worker.components": "sedano.compat.celery_worker_parts",
    "celery.worker.loops": "sedano.compat.celery_worker_parts",
    "celery.worker.pidbox": "sedano.compat.celery_worker_parts",
    "celery.worker.state": "sedano.compat.celery_worker_state",
    "celery.worker.strategy": "sedano.compat.celery_worker_parts",
    "celery.worker.request": "sedano.worker.request",
}

KOMBU: dict[str, str] = {
    "kombu": "sedano.compat.kombu",
    "kombu.common": "sedano.compat.kombu_common",
    "kombu.compression": "sedano.compat.kombu_compression",
    "kombu.entity": "sedano.protocol.queues",
    "kombu.exceptions": "sedano.compat.kombu_exceptions",
    "kombu.serialization": "sedano.compat.kombu_serialization",
    "kombu.utils": "sedano.compat.kombu_utils",
    "kombu.utils.encoding": "sedano.compat.kombu_encoding",
    "kombu.utils.json": "sedano.compat.kombu_json",
    "kombu.utils.objects": "sedano.compat.kombu_utils",
    "kombu.utils.url": "sedano.compat.kombu_utils",
    "kombu.utils.uuid": "sedano.compat.kombu_utils",
}


class _Loader(importlib.abc.Loader):
    def __init__(self, target: str) -> None:
        self.target = target

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        del spec
        return None

    def exec_module(self, module: ModuleType) -> None:
        # The import system takes the module from sys.modules after this, so ours stands there under both names.
        sys.modules[module.__name__] = importlib.import_module(self.target)

    def get_code(self, fullname: str) -> CodeType:
        """For `python -m celery`; no other module of Celery's is a program."""
        source = f"import sys; from {self.target} import main; sys.exit(main())" if fullname.endswith(".__main__") else ""
        return compile(source, f"<{fullname}>", "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, root: str, table: dict[str, str], advice: str) -> None:
        self.root, self.table, self.advice = root, table, advice

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname != self.root and not fullname.startswith(self.root + "."):
            return None
        ours = self.table.get(fullname)
        if ours is None:
            # Falling through to an installed Celery would mix two engines in one process.
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: `import {self.root}` means Sedano here (sedano.as_celery), which does not "
                f"offer it. {self.advice}",
                name=fullname,
            )
        has_children = any(name.startswith(fullname + ".") for name in self.table)
        return importlib.machinery.ModuleSpec(fullname, _Loader(ours), is_package=has_children)


def _installed(name: str) -> bool:
    """Whether a real package `name` could be imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def is_on() -> bool:
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def turn_on(*, reason: str = "sedano.as_celery") -> None:
    """Make `import celery` mean Sedano in this process. Repeating it does nothing.

    Raises ImportError when the real Celery was imported before: two engines in one process would share nothing but names.
    """
    if is_on():
        return
    before = sys.modules.get("celery")
    if before is not None:
        raise ImportError(
            f"the real Celery is imported already (from {getattr(before, '__file__', '?')}): turn the alias on before anything "
            "imports celery, for example with SEDANO_AS_CELERY=1, or start the command with --no-alias"
        )
    if _installed("celery"):
        _say_who_wins(reason)
    without = "Without the alias (sedano --no-alias), the real one can be imported."
    finders = [_Finder("celery", CELERY, without)]
    if "kombu" not in sys.modules and not _installed("kombu"):
        finders.append(_Finder("kombu", KOMBU, "Install Kombu for it: pip install kombu"))
    sys.meta_path[:0] = finders


def _say_who_wins(reason: str) -> None:
    """One log line; in a worker, whose log is set up later, as soon as there is one."""

    def say(**_: Any) -> None:
        signals.after_setup_logger.disconnect(dispatch_uid=_UID)
        _logger.info("`import celery` means Sedano in this process (%s); the installed Celery is not used", reason)

    if _logger.isEnabledFor(logging.INFO):
        say()
    else:
        signals.after_setup_logger.connect(say, weak=False, dispatch_uid=_UID)


def main(words: Sequence[str]) -> None:
    """`python -m sedano.as_celery script.py …` or `… -m module …`: run it as `__main__` with the alias on."""
    if not words or words[0] in ("-h", "--help"):
        raise SystemExit("usage: python -m sedano.as_celery (SCRIPT | -m MODULE) [ARGS...]")
    # Child processes that are started with the same interpreter are to mean the same.
    os.environ["SEDANO_AS_CELERY"] = "1"
    if words[0] == "-m":
        if len(words) < 2:
            raise SystemExit("python -m sedano.as_celery -m: which module?")
        sys.argv = list(words[1:])
        sys.path.insert(0, os.getcwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    # This copy is `__main__`; the alias belongs to the module of the proper name.
    importlib.import_module("sedano.as_celery")
    main(sys.argv[1:])
else:
    turn_on(reason="SEDANO_AS_CELERY" if os.environ.get("SEDANO_AS_CELERY") else "sedano.as_celery")

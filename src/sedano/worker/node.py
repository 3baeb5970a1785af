"""One node from its options to its exit code: what `sedano worker`, `app.Worker` and `app.worker_main` start.

The order matters: the app is loaded and the user's hooks have run before the template is forked, and the template is forked
before this process has a thread or a connection.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sedano import signals
from sedano.app.nodenames import node_name
from sedano.app.pidfile import Pidfile, PidfileInUse
from sedano.exceptions import ImproperlyConfigured
from sedano.log import say
from sedano.rules.shutdown import Event
from sedano.settings.validation import Finding, require_valid
from sedano.worker.advice import advise
from sedano.worker.banner import banner, root_warnings, task_list
from sedano.worker.consumer import Consumer
from sedano.worker.here import noted
from sedano.worker.logs import LogPlan, setup_logs
from sedano.worker.noderun import NodeRun
from sedano.worker.plan import NodePlan, WorkerOptions, plan_node
from sedano.worker.supervisor import EX_FAILURE, Supervisor
from sedano.worker.table import SharedTable

if TYPE_CHECKING:
    from sedano.app.base import Celery

_logger = logging.getLogger("celery.apps.worker")
EX_CANTCREAT = 73
_CELERY_OPTIONS = ("detach", "executable", "pool_cls", "pool_start_method", "umask")
"""What receivers of `celeryd_init` find among `options` in Celery, and no node has an option of its own for."""
_GOODBYE_S = 15.0  # how long the threads may take to end their last round


class Worker:
    """A node. Hooks get it as `sender` or `instance`: `app`, `hostname`, `pid`, `options`, `stop()` are for them.

    `embedded` runs it inside somebody else's process: in threads, without touching signals, logging or streams.
    """

    def __init__(
        self, app: Celery, options: WorkerOptions, *, embedded: bool = False, settled: Callable[[], None] | None = None
    ) -> None:
        self.app, self.options, self.embedded, self.settled = app, options, embedded, settled
        self.hostname = node_name(options.hostname)
        self.pid = os.getpid()
        self.controller = self  # what Celery's hooks look for on their senders
        self.consumer = Consumer(app, self.hostname, self)
        self.ready = threading.Event()
        self.exitcode: int | None = None
        self.plan: NodePlan | None = None
        self.wants_restart = False
        self.told: dict[str, Any] = {}
        self.steps: list[Any] = []  # the user's own, see `steps.py`
        self.supervisor: Supervisor | None = None
        self.table: SharedTable | None = None  # what its slots do, while it runs
        self.commands: Mapping[str, Callable[..., Any]] = {}  # what it answers; nothing where it takes no commands
        self._findings: list[Finding] = []

    # -- for others ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin a warm stop. From any thread; safe twice."""
        if self.supervisor is not None:
            self.supervisor.stop(Event.SHUTDOWN)

    def terminate(self) -> None:
        """Begin a cold stop."""
        if self.supervisor is not None:
            self.supervisor.stop(Event.QUIT)

    def speak(self, text: str, *, error: bool = True) -> None:
        """Say something to whoever started the node: past the log's level and format, where there is a person to read it."""
        if self.embedded or (self.plan is not None and self.plan.log.is_json):
            _logger.warning("%s", text.strip())
        else:
            say(text, error=error)

    def is_ready(self) -> bool:
        return self.supervisor is not None and self.supervisor.is_ready

    def on_consumer_ready(self, consumer: Consumer) -> None:
        """Called when the node is ready; for subclasses."""

    def on_close(self) -> None:
        """Called when it begins to stop; for subclasses."""

    # -- start --------------------------------------------------------------------------------------------------------

    def start(self) -> int:
        """Run until stopped; the exit code."""
        self._load()
        plan = self.plan = self._announce(plan_node(self.app, self.options, self.hostname))
        pidfile = Pidfile(plan.pidfile) if plan.pidfile else None
        try:
            if pidfile is not None:
                pidfile.acquire()
        except PidfileInUse as exc:
            self.speak(f"ERROR: {exc}")
            return EX_CANTCREAT
        try:
            if not self.embedded and self._refused_as_root():
                return EX_FAILURE
            with noted(self):
                self.exitcode = NodeRun(self, plan).run()
        finally:
            if pidfile is not None:
                pidfile.release()
        if self.wants_restart:
            _logger.warning("Restarting celery worker (%s)", " ".join(sys.orig_argv))
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the program that runs now
        return self.exitcode

    def _load(self) -> None:
        """Settings, modules, tasks, queues: everything that slots inherit."""
        app, options = self.app, self.options
        app.set_current()
        elsewhere = dict.fromkeys(_CELERY_OPTIONS) | {"no_color": not options.color}
        told = self.told = {**elsewhere, **asdict(options), **options.user_options}
        app.loader.import_default_modules()  # where receivers of the hook may be
        signals.celeryd_init.send(self.hostname, instance=self, conf=app.conf, options=told)
        app.conf.update(options.setting_changes())
        self._findings = require_valid(app.conf)
        if options.queues:
            app.amqp.queues.select(options.queues)
        if options.exclude_queues:
            app.amqp.queues.deselect(options.exclude_queues)
        if options.include:
            app.conf.include = [*app.conf.typed("include"), *options.include]
            for module in options.include:
                _import_included(app, module)
        app.finalize()

    def _announce(self, plan: NodePlan) -> NodePlan:
        """Logging, hooks, banner. Hooks may still add queues: the plan is made again after them."""
        app = self.app
        signals.worker_init.send(self)
        if not self.embedded:
            self._setup_logs(plan.log)
        advise(app, self._findings)
        signals.celeryd_after_setup.send(self.hostname, instance=self, conf=app.conf)
        plan = plan_node(app, self.options, self.hostname)
        if not (self.embedded or self.options.quiet or plan.log.is_json):
            say(banner(app, plan))
            if plan.log.level <= logging.INFO:
                say(task_list(app, builtin=plan.log.level <= logging.DEBUG))
        return plan

    def _setup_logs(self, log: LogPlan) -> None:
        if self.app.given["log"] is None:
            setup_logs(log)
        else:  # a class of the user's own
            self.app.log.setup(log.level, log.file, log.redirect, log.redirect_level, log.color, self.hostname)

    def _refused_as_root(self) -> bool:
        uid = os.getuid() if hasattr(os, "getuid") else -1
        accept = self.app.conf.typed("accept_content")
        lines, refused = root_warnings(map(str, accept), uid=uid, forced=bool(os.environ.get("C_FORCE_ROOT")))
        for line in lines:
            self.speak(line)
        return refused


def _import_included(app: Celery, module: str) -> None:
    """What the module itself raises comes through."""
    try:
        app.loader.import_task_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise
        raise ImproperlyConfigured(f"-I {module}: there is no module {exc.name!r}") from exc

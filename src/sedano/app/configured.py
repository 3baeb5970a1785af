"""The configuration of an app: `app.conf`, where it comes from, and what follows from it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any

from sedano.app.annotating import prepare
from sedano.app.periodic import PeriodicEntries
from sedano.app.timezones import zone
from sedano.clock import SYSTEM_CLOCK
from sedano.protocol.serializers import accept_types
from sedano.settings import Settings, module_named_in, read_words
from sedano.signals import Signal


class Configured:
    """The part of `Celery` that is about settings; `Celery` adds tasks, stores and the rest."""

    on_configure: Any
    on_after_configure: Any

    def __init__(
        self,
        keywords: Mapping[str, Any],
        changes: Mapping[str, Any] | None,
        source: Any,
        silent: bool,
        namespace: str | None,
    ) -> None:
        """`keywords` win over every source; None among them means not given."""
        self.on_configure = own_signal(self, "on_configure")
        self.on_after_configure = own_signal(self, "on_after_configure", "source")
        self.config_source = source
        self._periodic = PeriodicEntries(self)
        self.conf = Settings(
            changes,
            automatic={name: value for name, value in keywords.items() if value is not None},
            source=source,
            silent=silent,
            namespace=namespace,
            before_load=self._before_load,
            after_load=self._after_load,
        )

    def config_from_object(self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None) -> None:
        """Take settings from a module, object, class, mapping, or `module` / `module:attribute`; read at the first use."""
        self.config_source = obj
        self.conf.use_source(obj, silent=silent, namespace=namespace, force=force)

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> bool:
        """As `config_from_object` for the module that an environment variable names; False when it names none."""
        if silent and not os.environ.get(variable_name):
            return False
        self.config_from_object(module_named_in(variable_name, os.environ), silent=silent, force=force)
        return True

    def config_from_cmdline(self, argv: Sequence[str], namespace: str = "celery") -> None:
        """Settings as `key=value` words."""
        self.conf.update(read_words(argv, namespace))

    def add_defaults(self, fun: Any) -> Any:
        """Settings (a mapping, or a function that returns one) below what is assigned and above the source."""
        self.conf.add_defaults(fun)
        return fun

    def prepare_config(self, c: Any) -> Any:
        """Called with the settings when they were read; for subclasses."""
        return c

    def either(self, default_key: str, *defaults: Any) -> Any:
        """The first of `defaults` that is not None, else the setting."""
        return next((value for value in defaults if value is not None), self.conf.get(default_key))

    def _before_load(self) -> None:
        if isinstance(self.on_configure, Signal):
            self.on_configure.send(sender=self)
        else:
            self.on_configure()

    def _after_load(self) -> None:
        self.prepare_config(self.conf)
        self._periodic.settle()
        self.on_after_configure.send(sender=self, source=self.conf)

    @property
    def configured(self) -> bool:
        return self.conf.is_loaded

    @property
    def accept_content(self) -> frozenset[str]:
        """MIME types that this app decodes."""
        return accept_types(self.conf.typed("accept_content"))

    @property
    def annotations(self) -> tuple[Any, ...]:
        return prepare(self.conf.task_annotations)

    @property
    def timezone(self) -> tzinfo:
        conf = self.conf
        return zone(conf.timezone, enable_utc=bool(conf.typed("enable_utc")))

    def uses_utc_timezone(self) -> bool:
        return self.timezone is UTC

    def now(self) -> datetime:
        """The time now in the app's zone."""
        return datetime.fromtimestamp(SYSTEM_CLOCK.wall(), self.timezone)

    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Sequence[Any] = (), kwargs: Any = (), name: str | None = None, **opts: Any
    ) -> str:
        """Add to `beat_schedule`; returns the entry's key, `name` or the signature's text."""
        return self._periodic.add(schedule, sig, args, dict(kwargs), name, opts)


def own_signal(app: Any, name: str, *arguments: str) -> Any:
    """A signal of this app, unless its class defines a method of the name, as old code does."""
    method = getattr(type(app), name, None)
    return partial(method, app) if callable(method) else Signal(name, arguments)

"""The layers of an app's settings, and when the source among them is read."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import copy as shallow_copy
from typing import Any, Final

from sedano.exceptions import ImproperlyConfigured, NotConfigured
from sedano.settings.loading import CODE, Source, check_mixing, load_object, read_source
from sedano.settings.names import UnknownSettingWarning, advice, canonical, prefix_of, without_celery
from sedano.settings.table import OPTIONS


class NotGiven:
    """The type of NOT_GIVEN, which stands for a setting that nobody set: not even to its default."""

    def __repr__(self) -> str:
        return "NOT_GIVEN"

    def __bool__(self) -> bool:
        return False


NOT_GIVEN: Final = NotGiven()

ENVIRONMENT: Mapping[str, str] = {
    "broker_url": "CELERY_BROKER_URL",
    "broker_read_url": "CELERY_BROKER_READ_URL",
    "broker_write_url": "CELERY_BROKER_WRITE_URL",
    "result_backend": "CELERY_RESULT_BACKEND",
}
# Names the module that is read where nobody gave another source.
CONFIG_MODULE: Final = "CELERY_CONFIG_MODULE"
# Where the value of a setting is taken from while it is None.
STAND_INS: Mapping[str, str] = {
    "broker_read_url": "broker_url",
    "broker_write_url": "broker_url",
    "task_default_exchange": "task_default_queue",
    "task_default_routing_key": "task_default_queue",
    "timezone": "TIME_ZONE",
}


class Layers:
    """Highest first: `environ`, `assigned`, `added` (the latest first), `source`, `defaults`. All by today's names."""

    def __init__(self, environ: Mapping[str, str], namespace: str | None = None) -> None:
        self.environ = environ
        self.namespace = namespace
        self.prefix = prefix_of(namespace)
        self.assigned: dict[str, Any] = {}
        self.added: list[Source] = []
        self.source: Source | None = None
        self.defaults: dict[str, Any] = {name: shallow_copy(option.default) for name, option in OPTIONS.items()}

    def use_namespace(self, namespace: str | None) -> None:
        self.namespace = namespace
        self.prefix = prefix_of(namespace)
        self.assigned = {canonical(key, self.prefix): value for key, value in self.assigned.items()}

    def effective(self, name: str) -> Any:
        """The value that holds, or NOT_GIVEN for a name that is no setting and that nobody gave."""
        value = self.given(name)
        if value is NOT_GIVEN:
            value = self.defaults.get(name, NOT_GIVEN)
        if value is None and name in STAND_INS:
            stand_in = self.effective(STAND_INS[name])
            return None if stand_in is NOT_GIVEN else stand_in
        return value

    def given(self, name: str) -> Any:
        """The value that somebody gave, or NOT_GIVEN."""
        variable = ENVIRONMENT.get(name)
        if variable is not None and self.environ.get(variable):
            return self.environ[variable]
        if name in self.assigned:
            return self.assigned[name]
        for layer in self._below():
            value = layer.values.get(name, NOT_GIVEN) if name in OPTIONS else _own(layer, name)
            if value is not NOT_GIVEN:
                return value
        return NOT_GIVEN

    def given_items(self) -> Iterator[tuple[str, Any]]:
        """What somebody gave: settings, and names of the user's own; beside a prefix only those that begin with it."""
        names = dict.fromkeys(name for name, variable in ENVIRONMENT.items() if self.environ.get(variable))
        for layer in reversed(self._below()):
            names.update(dict.fromkeys((*layer.values, *(key for key in layer.others if key.startswith(layer.prefix)))))
        names.update(dict.fromkeys(self.assigned))
        for name in names:
            value = self.given(name)
            if value is not NOT_GIVEN and not (isinstance(value, CODE) and name not in OPTIONS):
                yield name, value

    def repeats(self, key: str, value: Any) -> bool:
        """Whether it is the other name of what was assigned before: Celery(broker=x), then conf.update(CELERY_BROKER_URL=x)."""
        return bool(self.assigned.get(without_celery(key) or "", NOT_GIVEN) == value)

    def misspelt(self) -> dict[str, str]:
        """Names of any layer that are no settings but look like one -> the line that says so."""
        found: dict[str, str] = {}
        for layer in self._below():
            found.update(layer.misspelt())
        for key, value in self.assigned.items():
            if key in OPTIONS or isinstance(value, CODE) or self.repeats(key, value):
                continue
            hint = advice(key, self.prefix)
            if hint is not None:
                found[key] = f"{key} is no setting: {hint}"
        return found

    def copy(self) -> Layers:
        twin = Layers(self.environ, self.namespace)
        twin.assigned = dict(self.assigned)
        twin.added = list(self.added)
        twin.source = self.source
        twin.defaults = {key: shallow_copy(value) for key, value in self.defaults.items()}
        return twin

    def _below(self) -> list[Source]:
        return self.added if self.source is None else [*self.added, self.source]


class Reading:
    """Reads the source into `layers` once, when it is first needed.

    A thread that asks while it is itself reading (the source imports the app, which reads a setting) is answered from the
    other layers; other threads wait. When reading fails it is tried again the next time.
    """

    def __init__(
        self,
        layers: Layers,
        what: Any,
        silent: bool,
        before: Callable[[], object] | None,
        after: Callable[[], object] | None,
    ) -> None:
        self.layers = layers
        self.what = what
        self.silent = silent
        self.before = before
        self.after = after
        self.is_done = False
        # What add_defaults left to be read, and the names that were assigned, as they were spelled.
        self.pending: list[Mapping[str, Any] | Callable[[], Mapping[str, Any]]] = []
        self.spelled: set[str] = set()
        self._is_busy = False
        self._lock = threading.RLock()

    def ensure(self) -> None:
        """Return when the source has been read. Raises what importing it raises, or ImproperlyConfigured."""
        if self.is_done:
            return
        with self._lock:
            if not self.is_done and not self._is_busy:
                self._is_busy = True
                try:
                    self._read()
                finally:
                    self._is_busy = False

    def add(self, defaults: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        plain = defaults() if callable(defaults) else defaults
        self.layers.added.insert(0, read_source(plain, self.layers.namespace))

    def _read(self) -> None:
        if self.before is not None:
            self.before()
        source = self._source()
        if not self.layers.prefix:
            check_mixing(self.spelled if source is None else source.spellings)
        while self.pending:
            self.add(self.pending[0])
            del self.pending[0]
        self.layers.source = source
        self.is_done = True
        if self.after is not None:
            self.after()
        lines = {} if source is None else source.misspelt()
        if lines:
            warnings.warn(UnknownSettingWarning("; ".join(lines.values())), stacklevel=6)

    def _source(self) -> Source | None:
        what = self.layers.environ.get(CONFIG_MODULE) if self.what is None else self.what
        if isinstance(what, str) and what:
            try:
                what = load_object(what)
            except ImportError as exc:
                missing = _is_missing(what, exc)
                if self.what is None and missing:
                    raise ImproperlyConfigured(f"{CONFIG_MODULE} names the module {what!r}, and there is none") from exc
                if self.what is None or not self.silent:
                    raise
                if not missing:
                    text = f"the configuration {what!r} is not used, because importing it failed: {exc}"
                    warnings.warn(NotConfigured(text), stacklevel=7)
                return None
        is_none = what is None or (isinstance(what, str | Mapping) and not what)
        return None if is_none else read_source(what, self.layers.namespace)


def _is_missing(path: str, exc: ImportError) -> bool:
    """Whether `exc` says that there is no module `path`, and not that there is one with an error in it."""
    module = path.partition(":")[0]
    return isinstance(exc, ModuleNotFoundError) and exc.name is not None and f"{module}.".startswith(f"{exc.name}.")


def _own(layer: Source, name: str) -> Any:
    """The value of a name that is no setting, spelled with the layer's prefix or without it."""
    prefix = layer.prefix
    for key in (prefix + (name.upper() if prefix.isupper() else name), name) if prefix else (name,):
        if key in layer.others:
            try:
                return layer.read(key)
            except AttributeError:
                continue
    return NOT_GIVEN

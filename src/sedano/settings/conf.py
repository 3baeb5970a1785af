"""`app.conf`: the settings of one app.

Which value wins, highest first: the environment (four URLs), what the constructor or the code assigned, the defaults given
with `add_defaults` (the latest first), the configuration source (module, object, dict), the table's defaults.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from sedano.exceptions import CDeprecationWarning, ImproperlyConfigured
from sedano.settings.censor import censored as censor
from sedano.settings.censor import shown
from sedano.settings.forms import FormError, read_value
from sedano.settings.layers import NOT_GIVEN, Layers, Reading
from sedano.settings.names import DOCUMENTED, OLD, UnknownSettingWarning, advice, canonical, spelling
from sedano.settings.table import OPTIONS, Found, find


class Settings(MutableMapping[str, Any]):
    """A mapping and an object with attributes: `conf.x`, `conf["x"]`, `conf.get("x")` are the same.

    Every spelling of a setting leads to the same value: today's name, the old one, with the namespace's prefix. Names that
    are no setting are the user's own.

    The source is read when something is first asked for; assigning does not read it. `before_load` is called before and
    `after_load` after that, in the thread that asked; both may read and assign. A source that cannot be read raises what
    importing it raised, at every attempt. Any thread may read. `revision` grows with every change, for those who keep
    what they derived from the settings.
    """

    __slots__ = ("_layers", "_reading", "revision")

    _layers: Layers
    _reading: Reading
    revision: int

    def __init__(
        self,
        changes: Mapping[str, Any] | None = None,
        *,
        automatic: Mapping[str, Any] | None = None,
        source: Any = None,
        silent: bool = False,
        namespace: str | None = None,
        environ: Mapping[str, str] | None = None,
        before_load: Callable[[], object] | None = None,
        after_load: Callable[[], object] | None = None,
    ) -> None:
        """`changes` count as assigned. `automatic` too, wins over them, and may mix old and new names: an app's keywords."""
        layers = Layers(os.environ if environ is None else environ, namespace)
        self._set(layers, Reading(layers, source, silent, before_load, after_load))
        self.update(changes or {})
        for key, value in (automatic or {}).items():
            layers.assigned[canonical(key, layers.prefix)] = value

    # -- reading ------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        self._reading.ensure()
        layers = self._layers
        value = layers.effective(key if key in OPTIONS else canonical(key, layers.prefix))
        if value is NOT_GIVEN:
            raise KeyError(key)
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            hint = advice(name, self._layers.prefix)
            text = f"there is no setting {name!r}{f': {hint}' if hint else ''}"
            raise AttributeError(text, name=name, obj=self) from None

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        self._reading.ensure()
        return self._layers.effective(canonical(key, self._layers.prefix)) is not NOT_GIVEN

    def __iter__(self) -> Iterator[str]:
        self._reading.ensure()
        return iter({**dict.fromkeys(self._layers.defaults), **dict(self._layers.given_items())})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        if not self.is_loaded:
            return "<Settings: not read yet>"
        return f"<Settings: {', '.join(f'{key}={shown(key, value)}' for key, value in self._layers.given_items())}>"

    def typed(self, name: str) -> Any:
        """The value as the plain type that the setting means: seconds as float, names as a tuple, "4" as 4, "yes" as True.

        Raises ImproperlyConfigured for a value that is none of that.
        """
        option = OPTIONS[canonical(name, self._layers.prefix)]
        value = self[option.name]
        try:
            return read_value(option, value)
        except FormError as exc:
            raise ImproperlyConfigured(f"{option.name}={shown(option.name, value)}: expected {exc}") from exc

    def given(self, name: str) -> Any:
        """The value that somebody set, or NOT_GIVEN; a setting that was set to its default is given."""
        self._reading.ensure()
        return self._layers.given(canonical(name, self._layers.prefix))

    def value_set_for(self, key: str) -> bool:
        """Whether somebody set it."""
        return self.given(key) is not NOT_GIVEN

    def first(self, *keys: str) -> Any:
        """The first value that is not None."""
        return next((value for key in keys if (value := self.get(key)) is not None), None)

    def find_option(self, name: str, namespace: str = "") -> Found:
        """(namespace, key, row of the table) for a name that may lack its namespace. Raises KeyError."""
        return find(name, namespace)

    def find_value_for_key(self, name: str, namespace: str = "celery") -> Any:
        """The value of what `find_option` finds."""
        return self.get_by_parts(*self.find_option(name, namespace)[:-1])

    def get_by_parts(self, *parts: str | None) -> Any:
        """The value of the setting whose name is the parts joined by `_`."""
        return self["_".join(part for part in parts if part)]

    # -- showing ------------------------------------------------------------------------------------------------------

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """The settings that were given (or all) by name, without secrets unless asked."""
        self._reading.ensure()
        items = self.items() if with_defaults else self._layers.given_items()
        return {key: censor(key, value) if censored else value for key, value in items if not key.startswith("_")}

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """The same as text, one setting a line."""
        from pprint import pformat  # noqa: PLC0415 - for people who ask for the settings as text

        rows = self.table(with_defaults, censored).items()
        return "\n".join(f"{key}: {pformat(value, width=80, compact=True)}" for key, value in rows)

    def without_defaults(self) -> Settings:
        """A copy in which only what was given is there."""
        self._reading.ensure()
        layers = Layers({})
        layers.assigned, layers.defaults = dict(self._layers.given_items()), {}
        return _read_already(layers)

    # -- changing -----------------------------------------------------------------------------------------------------

    def __setitem__(self, key: str, value: Any) -> None:
        found = spelling(key, self._layers.prefix)
        if found is not None:
            if not self.is_loaded:
                self._reading.spelled.add(key)
        elif (hint := advice(key, self._layers.prefix)) and not self._layers.repeats(key, value):
            warnings.warn(UnknownSettingWarning(f"{key} is no setting: {hint}"), stacklevel=3)
        self._layers.assigned[key if found is None else found.name] = value
        self._changed()

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delitem__(self, key: str) -> None:
        """Take back what was assigned; the value of the layers below comes to light. Raises KeyError."""
        self.pop(key)

    def __delattr__(self, name: str) -> None:
        self.pop(name)

    def pop(self, key: str, *default: Any) -> Any:
        """Take back what was assigned and return it. Raises KeyError without a default."""
        value = self._layers.assigned.pop(canonical(key, self._layers.prefix), *default)
        self._changed()
        return value

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Assign unless it is there; before the source was read: unless it was assigned."""
        present = self if self.is_loaded else self._layers.assigned
        name = canonical(key, self._layers.prefix)
        if name not in present:
            self[key] = default
        return present[name]

    def clear(self) -> None:
        """Take back all that was assigned."""
        self._layers.assigned.clear()
        self._reading.spelled.clear()
        self._changed()

    def add_defaults(self, defaults: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Settings above the source and below what is assigned; a function is called when the source is read."""
        if self.is_loaded:
            self._reading.add(defaults)
            self._changed()
        else:
            self._reading.pending.append(defaults)

    def use_source(self, source: Any, *, silent: bool = False, namespace: str | None = None, force: bool = False) -> None:
        """Take the configuration from `source`: an object, a mapping, `module` or `module:attribute`; None for none.

        It is read at the first use, or at once with `force` or where the settings were in use already; what was assigned
        stays. `silent` ignores a module that cannot be imported.
        """
        reading, was_loaded = self._reading, self.is_loaded
        reading.what, reading.silent, reading.is_done = source, silent, False
        if namespace:
            self._layers.use_namespace(namespace)
        self._changed()
        if force or was_loaded:
            self.finalize()

    def copy(self) -> Settings:
        """Settings of their own with the same values."""
        self._reading.ensure()
        return _read_already(self._layers.copy())

    __copy__ = copy

    # -- the source ---------------------------------------------------------------------------------------------------

    @property
    def changes(self) -> dict[str, Any]:
        """What was assigned, by today's names: what has to travel with a pickled app."""
        return self._layers.assigned

    @property
    def is_loaded(self) -> bool:
        """Whether the source was read."""
        return self._reading.is_done

    @property
    def namespace(self) -> str | None:
        return self._layers.namespace

    @property
    def prefix(self) -> str:
        """What keys of the source begin with, `_` included; empty without a namespace."""
        return self._layers.prefix

    @property
    def deprecated_settings(self) -> set[str]:
        """The old names that the source uses; without a source, those that were assigned."""
        self._reading.ensure()
        source, prefix = self._layers.source, self._layers.prefix
        keys = self._reading.spelled if source is None else source.spellings
        return {key for key in keys if (found := spelling(key, prefix)) is not None and found.rank in (OLD, DOCUMENTED)}

    def misspelt(self) -> dict[str, str]:
        """Names that are no settings but look like one -> the line that says which."""
        self._reading.ensure()
        return self._layers.misspelt()

    def maybe_warn_deprecated_settings(self) -> bool:
        """Warn of each old name in use; whether there was one."""
        old = sorted(self.deprecated_settings)
        for key in old:
            text = f"The setting {key!r} has its old name: rename it to {canonical(key)!r}"
            warnings.warn(CDeprecationWarning(text), stacklevel=2)
        return bool(old)

    def finalize(self) -> Settings:
        """Read the source now, if it was not read yet."""
        self._reading.ensure()
        return self

    def _set(self, layers: Layers, reading: Reading) -> None:
        put = object.__setattr__
        put(self, "_layers", layers)
        put(self, "_reading", reading)
        put(self, "revision", 0)

    def _changed(self) -> None:
        object.__setattr__(self, "revision", self.revision + 1)


def _read_already(layers: Layers) -> Settings:
    """Settings over `layers` whose source needs no reading."""
    settings = Settings(environ={})
    reading = Reading(layers, None, False, None, None)
    reading.is_done = True
    settings._set(layers, reading)  # pyright: ignore[reportPrivateUsage]
    return settings

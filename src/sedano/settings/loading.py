"""Where settings come from: a module, `module:attribute`, an object, a class, a dict, words of a command line.

`read_source` turns any of these into a `Source`: settings by today's names, and the rest on demand. A source is read once;
what changes in it afterwards is not seen.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import sys
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import msgspec

from sedano.exceptions import ImproperlyConfigured
from sedano.settings.forms import FALSE_WORDS, TRUE_WORDS, FormError, form_of, read_value
from sedano.settings.names import OLD, advice, canonical, prefix_of, spelling
from sedano.settings.option import Option
from sedano.settings.table import OPTIONS

# Values that stand in a settings module by being imported or defined there, not as settings.
CODE = (ModuleType, type, FunctionType, MethodType, BuiltinFunctionType)
_CAST = re.compile(r"\((\w+)\)")


class Source(msgspec.Struct, frozen=True):
    """One layer of settings.

    `values`: today's name -> value. `others`: the keys that are no setting, as they are spelled; `read` gives their values.
    `spellings` holds every key that means a setting, as it was spelled.
    """

    values: Mapping[str, Any]
    others: Collection[str]
    read: Callable[[str], Any]
    spellings: Collection[str]
    prefix: str

    def misspelt(self) -> dict[str, str]:
        """The keys that are no settings but look like one, each with the line that says so."""
        lines: dict[str, str] = {}
        for key in self.others:
            hint = advice(key, self.prefix)
            if hint is not None and not isinstance(self.read(key), CODE):
                lines[key] = f"{key} is no setting: {hint}"
        return lines


def read_source(obj: Any, namespace: str | None = None) -> Source:
    """The settings in a mapping, or in the attributes of a module, class or other object.

    Where a setting is spelled more than once, the prefixed name wins over the bare new one, then the old one.
    """
    prefix = prefix_of(namespace)
    keys, read = _reader(obj)
    ranks: dict[str, int] = {}
    values: dict[str, Any] = {}
    others: dict[str, None] = {}
    spellings: list[str] = []
    for key in keys:
        found = spelling(key, prefix)
        if found is None:
            others[key] = None
            continue
        try:
            value = read(key)
        except AttributeError:
            continue  # an attribute that is listed and cannot be read is not given
        # `from django.urls import include` in a settings module is no setting.
        if isinstance(value, CODE) and not form_of(OPTIONS[found.name]).takes_objects:
            continue
        spellings.append(key)
        if found.rank < ranks.get(found.name, sys.maxsize):
            ranks[found.name], values[found.name] = found.rank, value
    return Source(values, others, read, frozenset(spellings), prefix)


def load_object(path: str) -> Any:
    """What `module` or `module:attribute` (or `module.attribute`) names; the current directory is importable.

    Raises ImportError when there is no such module (or when it fails to import, as it failed), and a ModuleNotFoundError
    when the module has no such attribute.
    """
    with _current_directory_importable():
        if ":" in path:
            module, _, attribute = path.partition(":")
            return _attribute(importlib.import_module(module), attribute, path)
        try:
            return importlib.import_module(path)
        except ModuleNotFoundError as exc:
            if exc.name != path or "." not in path:
                raise
        if path.endswith(".py"):
            raise ModuleNotFoundError(f"{path!r} is a file: write the name of the module, {path[:-3]!r}", name=path)
        module, _, attribute = path.rpartition(".")
        return _attribute(importlib.import_module(module), attribute, path)


def module_named_in(variable: str, environ: Mapping[str, str]) -> str:
    """The module that an environment variable names. Raises ImproperlyConfigured when it is not set."""
    module = environ.get(variable)
    if module:
        return module
    raise ImproperlyConfigured(
        f"The environment variable {variable!r} is not set, so there is no configuration to load. "
        f"Set it to the name of a module, for example: {variable}=proj.celeryconfig"
    )


def check_mixing(keys: Collection[str]) -> None:
    """Raise ImproperlyConfigured when old and new names are mixed in one source, listing the minority's renames.

    A name whose other spelling is there too is in nobody's way.
    """
    new = {key for key in keys if key in OPTIONS and OPTIONS[key].old_names}
    old = {key for key in keys if (found := spelling(key)) is not None and found.rank == OLD}
    to_new = len(new) >= len(old)
    renames: list[str] = []
    for key in sorted(old if to_new else new):
        others = (canonical(key),) if to_new else OPTIONS[key].old_names
        if not any(name in keys for name in others):
            renames.append(f"{key:<36} -> {others[0]}")
    if not renames:
        return
    form = "new" if to_new else "old"
    text = f"Old and new names of settings are mixed. Rename these to the {form} form:\n\n" + "\n".join(renames)
    raise ImproperlyConfigured(text if to_new else f"{text}\n\nor change all of the settings to the new form.")


def read_words(words: Sequence[str], namespace: str = "celery") -> dict[str, Any]:
    """`key=value` words of a command line as settings by today's names.

    A key may be in any case, with dots for underscores, and may leave out the program's namespace: `.concurrency=4`. A
    value is cast to the setting's type, or to the one it names: `(int)4`, `(json){"a": 1}`. All mistakes are raised together,
    as ImproperlyConfigured.
    """
    values: dict[str, Any] = {}
    mistakes: list[str] = []
    for word in words:
        try:
            key, value = _read_word(word, namespace.lower())
        except ValueError as exc:
            mistakes.append(f"{word}: {exc}")
        else:
            values[key] = value
    if mistakes:
        raise ImproperlyConfigured("Settings given on the command line:\n" + "\n".join(f"  {line}" for line in mistakes))
    return values


def _read_word(word: str, namespace: str) -> tuple[str, Any]:
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise ValueError("expected key=value")
    key = key.lower().replace(".", "_")
    if key.startswith("_"):
        key = namespace + key
    found = spelling(key) or spelling(key.upper())
    name = key if found is None else found.name
    cast = _CAST.match(text)
    if cast:
        return name, _cast(cast[1], text[cast.end() :])
    if found is None:
        hint = advice(key)
        raise ValueError(f"there is no such setting{f'; {hint}' if hint else ', and none like it'}")
    return name, _of_option(OPTIONS[name], text)


def _of_option(option: Option, text: str) -> Any:
    value: Any = text
    if option.type in ("list", "tuple"):
        value = json.loads(text) if text.lstrip().startswith("[") else [part.strip() for part in text.split(",")]
    elif text.lstrip().startswith(("{", "[")) and form_of(option).says != "text":
        value = json.loads(text)
    try:
        plain = read_value(option, value)
    except FormError as exc:
        raise ValueError(f"expected {exc}") from exc
    # What a zone name or a list of URLs means is for whoever uses it: keep what was written.
    return plain if isinstance(plain, str | int | float | bytes | list | tuple | dict) and not _keeps_text(option) else value


def _keeps_text(option: Option) -> bool:
    return option.form in ("urls", "log level")


def _cast(kind: str, text: str) -> Any:
    try:
        return _CASTS[kind](text)
    except KeyError:
        raise ValueError(f"({kind}) is no type; use one of {', '.join(sorted(_CASTS))}") from None


def _cast_bool(text: str) -> bool:
    word = text.strip().lower()
    if word not in (*TRUE_WORDS, *FALSE_WORDS):
        raise ValueError(f"{text!r} is neither true nor false")
    return word in TRUE_WORDS


_CASTS: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "str": str,
    "int": int,
    "float": float,
    "bool": _cast_bool,
    "bytes": str.encode,
    "any": str,
    "json": json.loads,
    "dict": json.loads,
    "list": json.loads,
    "tuple": lambda text: tuple(json.loads(text)),
}


def _reader(obj: Any) -> tuple[list[str], Callable[[str], Any]]:
    if isinstance(obj, Mapping):
        mapping: Mapping[Any, Any] = obj
        return [key for key in mapping if isinstance(key, str)], mapping.__getitem__
    return [key for key in dir(obj) if not key.startswith("_")], lambda key: getattr(obj, key)


def _attribute(module: Any, path: str, whole: str) -> Any:
    found = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as exc:
            raise ModuleNotFoundError(f"{whole!r}: {found!r} has no attribute {part!r}", name=whole) from exc
    return found


@contextlib.contextmanager
def _current_directory_importable() -> Generator[None]:
    here = str(Path.cwd())
    if "" in sys.path or here in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)

"""`PersistentScheduler`: remembers in a file when its entries were sent last. Used unless another scheduler is named."""

from __future__ import annotations

import dbm
import errno
from typing import Any

from sedano.beat import schedulefile
from sedano.beat.schedulefile import FileLock, ScheduleFile, ScheduleFileInUse, set_aside
from sedano.beat.scheduler import Scheduler, forget_future, logger
from sedano.exceptions import ImproperlyConfigured

VERSION = "5.7.0"  # of the file's form; Celery looks whether there is one

_STATES = {True: "enabled", False: "disabled"}


class PersistentScheduler(Scheduler):
    """Keeps `entries` and the time zone that they are in in the shelf `schedule_filename`; Celery's own files are taken over.

    Entries of the settings win over those of the file, which only remembers their past; entries that the settings do not have
    any more are dropped. A file that cannot be read is set aside under another name, and a new one is begun.

    Raises ScheduleFileInUse when another beat has the file, ImproperlyConfigured when it cannot be written.
    """

    persistence: Any = None
    """For subclasses: a module as `shelve`, whose `open(filename, writeback=True)` gives the file."""

    known_suffixes = schedulefile.SUFFIXES
    _store: Any = None
    _lock: FileLock | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        app = kwargs["app"] if "app" in kwargs else args[0]
        self.schedule_filename: str = kwargs.get("schedule_filename") or app.conf.beat_schedule_filename
        super().__init__(*args, **kwargs)

    # -- the file -----------------------------------------------------------------------------------------------------

    def _open_schedule(self) -> Any:
        if self.persistence is not None:
            return self.persistence.open(self.schedule_filename, writeback=True)
        kind = self.Entry
        return ScheduleFile(self.schedule_filename, {(kind.__module__, kind.__qualname__): kind})

    def _set_unreadable_aside(self, exc: Exception) -> Any:
        """Begin a new file; the one that cannot be read keeps its content under another name."""
        if self._store is not None:
            store, self._store = self._store, None
            store.cache.clear()  # or closing would write back what was read
            store.close()
        moved = set_aside(self.schedule_filename)
        if not moved:
            raise exc
        names = ", ".join(map(str, moved))
        logger.error(
            "beat: The schedule file %r cannot be read, and was set aside as %s; a new one is begun, and entries are counted"
            " from now on: %r",
            self.schedule_filename,
            names,
            exc,
        )
        return self._open_schedule()

    def _open(self) -> Any:
        """The shelf with its `entries` read."""
        try:
            self._store = self._open_schedule()
        except _FILE_ERRORS as exc:
            if getattr(exc, "errno", None) in _NOT_THE_FILE:
                raise self._explained(exc) from exc
            self._store = self._set_unreadable_aside(exc)
        try:
            entries = self._store.get("entries")
            if not isinstance(entries, dict | None):
                raise TypeError(f"its entries are a {type(entries).__name__}")
        except Exception as exc:  # a pickle may raise anything
            self._store = self._set_unreadable_aside(exc)
        return self._store

    def _explained(self, exc: Exception) -> ImproperlyConfigured:
        """An error that nothing would be gained by beginning a new file for."""
        name = repr(self.schedule_filename)
        if getattr(exc, "errno", None) == errno.EAGAIN:
            return ScheduleFileInUse(
                f"the schedule file {name} is in use by another program, perhaps Celery's beat: two of them would send"
                " everything twice. Stop that one, or give this one a file of its own with --schedule."
            )
        return ImproperlyConfigured(
            f"the schedule file {name} cannot be opened: {exc}. Name one that can be written with --schedule, or the setting"
            " beat_schedule_filename."
        )

    # -- the schedule -------------------------------------------------------------------------------------------------

    def setup_schedule(self) -> None:
        try:
            self._lock = FileLock(self.schedule_filename)
        except OSError as exc:
            raise self._explained(exc) from exc
        try:
            self._read()
        except BaseException:
            self._let_go()
            raise

    def _read(self) -> None:
        conf = self.app.conf
        store = self._open()
        self._drop_if_changed(store, "tz", conf.timezone, "Reset: Timezone changed from %r to %r")
        self._drop_if_changed(store, "utc_enabled", conf.enable_utc, "Reset: UTC changed from %s to %s")
        if "entries" not in store:
            store["entries"] = {}
        self.merge_inplace(conf.beat_schedule)
        self.install_default_entries(self.schedule)
        for entry in self.schedule.values():
            forget_future(entry)
        store.update({"__version__": VERSION, "tz": conf.timezone, "utc_enabled": conf.enable_utc})
        self.sync()
        logger.debug("Current schedule:\n%s", "\n".join(map(repr, self.schedule.values())))

    def _drop_if_changed(self, store: Any, key: str, now: Any, line: str) -> None:
        """The moments in the file are of the zone that it was written in."""
        before = store.get(key)
        if before is not None and before != now:
            logger.warning(line, _STATES.get(before, before), _STATES.get(now, now))
            store.clear()

    def get_schedule(self) -> Any:
        return self._store["entries"]

    def set_schedule(self, schedule: Any) -> None:
        self._store["entries"] = schedule

    schedule = property(get_schedule, set_schedule)

    def sync(self) -> None:
        if self._store is not None:
            self._store.sync()

    def close(self) -> None:
        """Save the state and let go of the file."""
        try:
            super().close()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        store, self._store = self._store, None
        try:
            if store is not None:
                store.close()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    @property
    def info(self) -> str:
        return f"    . db -> {self.schedule_filename}"


_NOT_THE_FILE = (errno.EAGAIN, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOSPC, errno.EROFS)
_FILE_ERRORS: tuple[type[Exception], ...] = (OSError, *dbm.error)

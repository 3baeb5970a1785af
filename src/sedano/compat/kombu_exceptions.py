"""`kombu.exceptions`: the classes that Celery users catch, as ours."""

from __future__ import annotations

from sedano.exceptions import ContentDisallowed, DecodeError, EncodeError, OperationalError, SedanoError
from sedano.protocol.queues import NotBoundError

KombuError = SedanoError
ConnectionError = OperationalError  # noqa: A001 - Kombu's name

__all__ = [
    "ConnectionError",
    "ContentDisallowed",
    "DecodeError",
    "EncodeError",
    "KombuError",
    "NotBoundError",
    "OperationalError",
]

"""Imported by a worker, inside one task; callers do not know it."""


class TooSecret(Exception):
    pass

"""Errors of the project that both sides import."""


class OutOfStock(Exception):
    """Made with two values."""

    def __init__(self, item, wanted):
        super().__init__(item, wanted)
        self.item = item
        self.wanted = wanted

"""Which Sedano this is, for rooms that may not ask the package's face."""

__version__ = "0.1.0"

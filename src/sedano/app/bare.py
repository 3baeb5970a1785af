"""As much of an app as it takes to ask the nodes: settings and stores, without tasks, workflows and results.

For programs that are started again and again only to ask: importing the whole app takes longer than the question.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, cast

from sedano.app.connect import Stores, stores_of
from sedano.app.control import Control
from sedano.app.lamport import LamportClock
from sedano.protocol.serializers import accept_types
from sedano.settings import CONFIG_MODULE, Settings

if TYPE_CHECKING:
    from sedano.app.base import Celery

DEFAULT_CONFIG = "celeryconfig"


class BareApp:
    """Configured as `Celery("default", loader="default")` is: by the environment, and by `celeryconfig` where there is one."""

    def __init__(self) -> None:
        self.conf = Settings(source=None if os.environ.get(CONFIG_MODULE) else DEFAULT_CONFIG, silent=True)
        self.clock = LamportClock()
        self.control = Control(cast("Celery", self))  # for `broadcast`, which uses no more than is here

    @cached_property
    def stores(self) -> Stores:
        """Raises as `stores_of` does."""
        self.conf.finalize()
        return stores_of(self.conf, None)

    @property
    def accept_content(self) -> frozenset[str]:
        """MIME types that are decoded."""
        return accept_types(self.conf.typed("accept_content"))

"""Puts `sedano_as_celery.pth` beside the package in every kind of installation, editable ones too.

The line in it costs a look at one environment variable at interpreter start; with SEDANO_AS_CELERY=1 it makes
`import celery` mean Sedano (`src/sedano/as_celery.py`).
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PTH = "sedano_as_celery.pth"


class CustomBuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        key = "force_include_editable" if version == "editable" else "force_include"
        build_data[key][f"{self.root}/src/{PTH}"] = PTH

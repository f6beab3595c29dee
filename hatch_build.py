"""Build hook: ship the repository's scaffolds/ and etc/ inside built wheels; a checkout uses them in place."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShipData(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build_data["force_include"] |= {
                "scaffolds": "corosync_amf/_data/scaffolds",
                "etc": "corosync_amf/_data/etc",
            }

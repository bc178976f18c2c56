"""Settings that are to be made true on this machine, which are not always those that the panel wants."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from wgfleet.agent.kernel.uplink_mtu import carried_by_uplink, fitting
from wgfleet.protocol.desired import InterfaceSettings

if TYPE_CHECKING:
    from wgfleet.agent.interfaces.commit_confirm import SettingsTrial


class EffectiveSettings:
    """Of one interface: without what was taken back, with an MTU that fits the uplink, and down where it is kept so.

    `kept_down`: whether the interface is to be down, whatever is desired.
    """

    def __init__(self, trial: "SettingsTrial | None", kept_down: Callable[[], bool]) -> None:
        self._trial = trial
        self._kept_down = kept_down
        self._carried: int | None = None  # bytes of a packet on the machine's uplink

    async def look(self) -> None:
        """Read what the machine's uplink carries."""
        self._carried = await carried_by_uplink()

    def of(self, desired: InterfaceSettings) -> InterfaceSettings:
        """Return what is to be made true where these settings are desired."""
        settings = desired if self._trial is None else self._trial.effective(desired)
        settings = msgspec.structs.replace(settings, mtu=fitting(settings, self._carried))
        if self._kept_down():
            settings = msgspec.structs.replace(settings, enabled=False, floating=None)
        return settings

"""The writer of usage: has what the meter counted written down, now and then, and when the agent ends."""

import asyncio

import msgspec

from wgfleet.agent.interfaces.usage import UsageMeter
from wgfleet.agent.state.usage_file import UsageFile, UsageState

_LOOK_S = 1.0


class UsageWriter:
    """Writes what `meter` has to `file`."""

    def __init__(self, meter: UsageMeter, file: UsageFile) -> None:
        self.meter = meter
        self._file = file

    @classmethod
    def load(cls, file: UsageFile, machine: str) -> "UsageWriter":
        """Go on with what the file has. `machine` as in `UsageMeter`."""
        state = file.load()
        return cls(UsageMeter(state or UsageState("", 0, {}), machine=machine, fresh=state is None), file)

    async def run(self) -> None:
        """Write when it is due, and at once what cannot be read from the kernel again, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if self.meter.changed and (self.meter.urgent or self._file.is_due()):
                await asyncio.to_thread(self._write, self._begin())

    def close(self) -> None:
        """Write what is not written yet."""
        if self.meter.changed:
            self._write(self._begin())

    def _begin(self) -> bytes:
        self.meter.changed = self.meter.urgent = False
        return msgspec.json.encode(self.meter.state)

    def _write(self, content: bytes) -> None:
        if not self._file.write(content):
            self.meter.changed = True

"""The writer of usage: has what the meter counted written down, now and then, and when the agent ends."""

import asyncio
import threading

import msgspec

from wgfleet.agent.interfaces.usage import UsageMeter
from wgfleet.agent.state.usage_file import UsageFile, UsageState
from wgfleet.protocol.usage import UsageBatch, UsageRequest

_LOOK_S = 1.0


class UsageWriter:
    """Writes what `meter` has to `file`."""

    def __init__(self, meter: UsageMeter, file: UsageFile, reserved: int = 0) -> None:
        """Begin with a file that has `reserved`, as in `UsageState`; 0: there is none."""
        self.meter = meter
        self._file = file
        self._writing = asyncio.Lock()
        self._at_file = threading.Lock()
        self._begun = self._written = 0
        self._reserved = reserved
        self._kept = True  # whether the file has all that was begun to be written

    @classmethod
    def load(cls, file: UsageFile, machine: str) -> "UsageWriter":
        """Go on with what the file has. `machine` as in `UsageMeter`."""
        state = file.load()
        reserved = 0 if state is None else state.reserved  # as it is there: the meter goes on from it
        return cls(UsageMeter(state or UsageState("", 0, {}), machine=machine, fresh=state is None), file, reserved)

    async def run(self) -> None:
        """Write when it is due, and at once what cannot be read from the kernel again, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if self.meter.changed and (self.meter.urgent or self._file.is_due()):
                async with self._writing:
                    await self._write_now()

    async def batch(self, request: UsageRequest, now: float) -> UsageBatch:
        """Return the next batch, when the file has what it must have before that is said.

        A disk that cannot be written keeps nothing back.
        """
        batch = self.meter.batch(request, now)
        async with self._writing:  # what is being written may be just that
            if self.meter.first:
                await self._write_now()
            return batch if self._kept else self.meter.batch_without_file(request, now, self._reserved)

    def close(self) -> None:
        """Write what is not written yet."""
        if self.meter.changed:
            self._write(*self._begin())

    async def _write_now(self) -> None:
        await asyncio.to_thread(self._write, *self._begin())

    def _begin(self) -> tuple[int, int, bytes]:
        self.meter.changed = self.meter.urgent = self.meter.first = False
        self._begun += 1
        return self._begun, self.meter.state.reserved, msgspec.json.encode(self.meter.state)

    def _write(self, number: int, reserved: int, content: bytes) -> None:
        with self._at_file:
            if number < self._written:
                return  # a thread that nobody waited for comes late
            self._written = number
            self._kept = self._file.write(content)
            if self._kept:
                self._reserved = reserved
            else:
                self.meter.changed = True

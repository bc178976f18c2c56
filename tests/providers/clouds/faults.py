"""Each way in which a cloud's API can fail, and what the provider has to make of it."""

from dataclasses import dataclass

from tests.providers.cloudflare.misbehaviour import Fault
from wgfleet.panel.address_providers import Blocked
from wgfleet.panel.errors import PermanentError, TransientError

SILENT_S = 0.5  # how long a call waits that gets no answer
PATIENT_S = 20.0  # what is answered may take its time on a busy machine


@dataclass(frozen=True)
class CloudFailure:
    """`at`: faults of the stand-in. `error`: what the calls raise, if anything. `wait_s`: the wait that it asks for."""

    at: tuple[Fault, ...]
    error: type[Exception] | None
    wait_s: float | None = None

    @property
    def timeout_s(self) -> float:
        return SILENT_S if any(fault.kind == "silence" for fault in self.at) else PATIENT_S


FAILURES = {
    "503 to a read": CloudFailure((Fault(kind="error", status=503, on="read"),), TransientError),
    "500 before the change": CloudFailure((Fault(kind="error", status=500),), TransientError),
    "500 after the change": CloudFailure((Fault(kind="error", status=500, when="after"),), TransientError),
    "no answer to a read": CloudFailure((Fault(kind="silence", on="read"),), TransientError),
    "no answer, not changed": CloudFailure((Fault(kind="silence"),), TransientError),
    "no answer, but changed": CloudFailure((Fault(kind="silence", when="after"),), TransientError),
    "cut off, not changed": CloudFailure((Fault(kind="cut"),), TransientError),
    "cut off, but changed": CloudFailure((Fault(kind="cut", when="after"),), TransientError),
    "a page of HTML to a read": CloudFailure((Fault(kind="html", on="read"),), TransientError),
    "a page of HTML, but changed": CloudFailure((Fault(kind="html", when="after"),), TransientError),
    "slow": CloudFailure((Fault(kind="slow", on="any", seconds=0.1, times=3),), None),
    "403": CloudFailure((Fault(kind="error", status=403),), PermanentError),
    "404": CloudFailure((Fault(kind="error", status=404),), PermanentError),
    "409": CloudFailure((Fault(kind="error", status=409),), TransientError),
    "423, locked": CloudFailure((Fault(kind="error", status=423),), TransientError),
    "429 to a read": CloudFailure((Fault(kind="blocked", on="read", seconds=17),), Blocked, 17),
    "429 to a change": CloudFailure((Fault(kind="blocked", seconds=23),), Blocked, 23),
}
CHANGED = {name for name, failure in FAILURES.items() if any(fault.when == "after" for fault in failure.at)}

"""The target of a DNS sync, and its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wgfleet.panel.domain.dns.listing import Mode
from wgfleet.panel.domain.dns.plan import Approval, Plan, needs_approval, plan
from wgfleet.panel.domain.dns.records import Record

APPROVAL, DRIFT, DRY_RUN = "approval", "drift", "dry_run"


@dataclass(frozen=True, slots=True)
class Target:
    """What a name is to be. `verified`: it was so before, so what differs now was done by somebody else.

    `routine`: nothing is to be done there as far as is known, and nobody asked for the look.
    `expected`: addresses whose removal needs no approval. `allowed_plan_id`: the plan that an administrator allowed.
    """

    id: str
    provider: str
    zone: str
    name: str
    options: Mapping[str, Any] = field(repr=False)
    mark: str
    wanted: tuple[Record, ...]
    approval: Approval
    mode: Mode = Mode.SYNC
    withdrawn: bool = False
    reports_drift: bool = False
    verified: bool = False
    routine: bool = False
    expected: frozenset[str] = frozenset()
    allowed_plan_id: str | None = None

    def plan(self, existing: tuple[Record, ...], *, adopt: bool = False) -> Plan:
        """Compare what is there with what is wanted."""
        return plan(self.name, existing, self.wanted, self.mark, mode=self.mode, withdrawn=self.withdrawn, adopt=adopt)

    def needs_approval(self, plan: Plan) -> bool:
        """Tell whether a plan waits for an administrator."""
        return not self.withdrawn and needs_approval(plan, self.mark, self.expected, self.approval)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the name was left. `plan`: what is still to be done there, with `held` saying why it was not.

    `drift`: what somebody else had changed, field by field. `applied`: something was changed by us.
    """

    plan: Plan
    held: str | None = None
    drift: tuple[str, ...] = ()
    applied: bool = False

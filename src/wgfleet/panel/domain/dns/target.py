"""Targets and results of DNS syncs: what a name should have, and what an attempt to get it there did."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wgfleet.panel.domain.dns.listing import DnsMode
from wgfleet.panel.domain.dns.plan import Approval, DnsPlan, needs_approval, plan
from wgfleet.panel.domain.dns.records import Record
from wgfleet.panel.domain.dns.states import HeldReason


@dataclass(frozen=True, slots=True)
class Target:
    """The desired records of a name, and the rules for getting there.

    `verified`: the name had them before, so a difference now is drift. `routine`: the sync is only a check for drift;
    nothing is known to differ and nobody asked for it. `expected`: addresses whose removal needs no approval.
    `approved_plan_id`: the plan that an administrator approved.
    """

    id: str
    provider: str
    zone: str
    name: str
    options: Mapping[str, Any] = field(repr=False)
    mark: str
    desired: tuple[Record, ...]
    approval: Approval
    mode: DnsMode = DnsMode.SYNC
    withdrawn: bool = False
    reports_drift: bool = False
    verified: bool = False
    routine: bool = False
    expected: frozenset[str] = frozenset()
    approved_plan_id: str | None = None

    def plan(self, observed: tuple[Record, ...], *, adopt: bool = False) -> DnsPlan:
        """Compare the observed records with the desired ones."""
        return plan(self.name, observed, self.desired, self.mark, mode=self.mode, withdrawn=self.withdrawn, adopt=adopt)

    def needs_approval(self, plan: DnsPlan) -> bool:
        """Tell whether a plan waits for an administrator."""
        return not self.withdrawn and needs_approval(plan, self.mark, self.expected, self.approval)


@dataclass(frozen=True, slots=True)
class SyncResult:
    """How a sync left the name. `plan`: what is still to be done there, with `held` saying why it was not.

    `drift`: what somebody else had changed, field by field. `applied`: we changed something.
    """

    plan: DnsPlan
    held: HeldReason | None = None
    drift: tuple[str, ...] = ()
    applied: bool = False

"""Publisher of DNS names: observe, plan, apply, observe again. Blocks; target and result are values, not rows."""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from wgfleet.panel import faultpoints
from wgfleet.panel.dns.metrics import DnsMetrics
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.providers import TEXT_CALLS, Blocked, Finding, Provider, Raced, TextProvider
from wgfleet.panel.dns.questions import Questions
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.domain.dns.listing import DnsMode
from wgfleet.panel.domain.dns.plan import DnsPlan, differences, without_deletes
from wgfleet.panel.domain.dns.records import Changes, Record
from wgfleet.panel.domain.dns.states import HeldReason
from wgfleet.panel.domain.dns.target import SyncResult, Target
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.settings.acme import AcmeSettings
from wgfleet.protocol.reasons import Reason, words_of

MAX_READS = 4  # in one sync: others may race us, or an answer may be lost; the rest is for the next attempt

T = TypeVar("T")


class Publisher:
    """Syncs names. Safe to share between threads, as long as only one of them at a time syncs a name."""

    def __init__(self, plugins: DnsPlugins, limiter: Limiter, metrics: DnsMetrics) -> None:
        self.plugins = plugins
        self.metrics = metrics
        self.questions = Questions()
        self._limiter = limiter
        self._open: dict[str, tuple[str, Provider]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all providers; the next sync opens its own again."""
        with self._lock:
            opened, self._open = list(self._open.values()), {}
        for _, provider in opened:
            provider.close()

    def forget(self, target_id: str) -> None:
        """Close the provider of a name that is no longer synced."""
        with self._lock:
            _, provider = self._open.pop(target_id, ("", None))
        if provider is not None:
            provider.close()

    def sync(self, target: Target) -> SyncResult | None:
        """Give a name its desired records, as far as that is allowed, and read them back.

        None: a routine sync was skipped, because the calls that the account has left are for changes.
        Raise `TransientError` (`Blocked` among them), `PermanentError`, or `Invalid` if the options are wrong.
        """
        provider = self._provider(target)
        if target.routine and not self._limiter.allows_routine(provider.account):
            return None
        first: DnsPlan | None = None
        unconfirmed: TransientError | None = None
        applied = False
        for _ in range(MAX_READS):
            plan = self._plan(target, self._observe(target, provider))
            first = first or plan
            drift = differences(first) if target.verified and not first.stopped else ()
            todo, held = _allowed_changes(target, plan, publishes=provider.capabilities.publishes)
            if not todo:
                return SyncResult(plan, held, drift, applied)
            if unconfirmed is not None:
                raise unconfirmed
            if applied:
                # The provider may still show old records; another write would be planned from those.
                missing = "; ".join(differences(plan))
                raise TransientError(
                    Reason(
                        "{target}: changes were accepted but do not show yet: {missing}",
                        target=target.name,
                        missing=missing,
                    )
                )
            try:
                self._apply(target, provider, todo)
            except Raced:
                continue
            except Blocked:
                raise
            except TransientError as error:
                # Whether the changes were made is not known; the next read tells.
                unconfirmed = error
                continue
            applied = True
            faultpoints.reached("dns.applied")
        raise TransientError(
            Reason(
                "{target}: gave up after {max_reads} attempts: the records keep being changed by somebody else",
                target=target.name,
                max_reads=MAX_READS,
            )
        )

    def preview(self, target: Target, *, adopt: bool = False, urgent: bool = False) -> DnsPlan:
        """Read a name and return the plan of what would be done there.

        Unless it is `urgent`, it leaves the calls that are reserved for changes.
        """

        def look() -> DnsPlan:
            provider = self._open_provider(target)
            try:
                if not urgent:
                    self._spare(provider)
                return target.plan(self._observe(target, provider), adopt=adopt)
            finally:
                provider.close()

        return self.questions.ask(look)

    def check(self, kind: str, zone: str, name: str, options: Mapping[str, Any]) -> list[Finding]:
        """Ask the provider whether credential, zone and permissions are right for a name."""
        return self.questions.ask(lambda: self._check(kind, zone, name, options))

    def refusals(self, kind: str, zone: str, name: str, options: Mapping[str, Any], within_s: float) -> list[Finding]:
        """Return what a provider certainly refuses; nothing if it does not answer in time."""
        try:
            found = self.questions.ask(lambda: self._check(kind, zone, name, options), within_s)
        except PermanentError as error:
            return [Finding("provider", ok=False, detail=words_of(error))]
        except Exception:  # noqa: BLE001 - no answer, or a plugin's bug, which shows when the name is published
            return []
        return [finding for finding in found if not finding.ok and finding.certain]

    def change_text(self, acme: AcmeSettings, change: Callable[[TextProvider], None]) -> None:
        """Have the provider that answers a CA add or remove a TXT record. Errors are those of `sync`."""
        provider = self.plugins.open_for(acme)
        try:
            self.metrics.count_calls(acme.dns_provider or "", "text", TEXT_CALLS)
            self._call(provider, lambda: change(provider), TEXT_CALLS)
        finally:
            provider.close()

    def _check(self, kind: str, zone: str, name: str, options: Mapping[str, Any]) -> list[Finding]:
        provider = self.plugins.open(kind, zone, options)
        try:
            self._spare(provider)
            calls = provider.capabilities.check_calls
            self.metrics.count_calls(kind, "check", calls)
            return self._call(provider, lambda: provider.check(name), calls)
        finally:
            provider.close()

    def _spare(self, provider: Provider) -> None:
        """Raise if the calls that the account has left are for changes."""
        if not self._limiter.allows_routine(provider.account):
            raise TransientError(
                Reason("the calls that the DNS account has left are for changes; try again"), retry_after_s=60
            )

    def _plan(self, target: Target, observed: tuple[Record, ...]) -> DnsPlan:
        plan = target.plan(observed)
        if plan.conflicts and target.approved_plan_id is not None:
            adopting = target.plan(observed, adopt=True)
            if adopting.id == target.approved_plan_id:
                return adopting
        return plan

    def _observe(self, target: Target, provider: Provider) -> tuple[Record, ...]:
        self.metrics.count_calls(target.provider, "read")
        return self._call(provider, lambda: provider.read(target.name))

    def _apply(self, target: Target, provider: Provider, changes: Changes) -> None:
        parts = [changes]
        if not provider.capabilities.atomic and changes.deletes:
            # New addresses first, so that the name always lists as many as possible.
            parts = [Changes((), changes.updates, changes.creates), Changes(changes.deletes)]
        for part in filter(None, parts):
            calls = self._call(provider, partial(provider.apply, target.name, part))
            self.metrics.count_calls(target.provider, "apply", calls)
            self._limiter.charge(provider.account, calls - 1)

    def _call(self, provider: Provider, call: Callable[[], T], calls: int = 1) -> T:
        """Make a call (or several) that counts against the rate limit; a blocked account blocks all its names."""
        with self._limiter.counted(provider.account, calls):
            return call()

    def _provider(self, target: Target) -> Provider:
        """Return the open provider of a name; a new one if zone or options changed."""
        fingerprint = _fingerprint(target)
        with self._lock:
            known = self._open.get(target.id)
        if known is not None and known[0] == fingerprint:
            return known[1]
        self.forget(target.id)
        provider = self._open_provider(target)
        with self._lock:
            self._open[target.id] = (fingerprint, provider)
        return provider

    def _open_provider(self, target: Target) -> Provider:
        self.plugins.check_name(target.provider, target.options, target.name, "dns.record_name")
        return self.plugins.open(target.provider, target.zone, target.options)


def _allowed_changes(target: Target, plan: DnsPlan, *, publishes: bool) -> tuple[Changes, HeldReason | None]:
    """Return the changes that may be made now, and why the others are held."""
    approved = plan.id == target.approved_plan_id
    if not plan.changes:
        return Changes(), None
    if target.mode is DnsMode.DRY_RUN or not publishes:
        return Changes(), HeldReason.DRY_RUN
    if target.verified and target.reports_drift and not approved:
        return Changes(), HeldReason.DRIFT
    if not approved and target.needs_approval(plan):
        return without_deletes(plan).changes, HeldReason.APPROVAL
    return plan.changes, None


def _fingerprint(target: Target) -> str:
    text = json.dumps([target.provider, target.zone, dict(target.options)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

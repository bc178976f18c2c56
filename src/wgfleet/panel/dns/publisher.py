"""One look at a name: read, plan, apply, read again. Blocks; must not decide what is wanted, nor touch its rows."""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from wgfleet.panel import faultpoints
from wgfleet.panel.dns.metrics import Meters
from wgfleet.panel.dns.plugins import Registry
from wgfleet.panel.dns.providers import Blocked, Finding, Provider, Raced
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.domain.dns.listing import Mode
from wgfleet.panel.domain.dns.plan import Plan, differences, without_deletes
from wgfleet.panel.domain.dns.records import Changes, Record
from wgfleet.panel.domain.dns.target import APPROVAL, DRIFT, DRY_RUN, Outcome, Target
from wgfleet.panel.errors import PermanentError, TransientError

ROUNDS = 4  # reads of one look: others may race us, and an answer may be lost; more is for the next try

T = TypeVar("T")


class Publisher:
    """Looks at names. Safe to share by threads; a name is looked at by one of them at a time."""

    def __init__(self, registry: Registry, limiter: Limiter, meters: Meters) -> None:
        self.registry = registry
        self.meters = meters
        self._limiter = limiter
        self._open: dict[str, tuple[str, Provider]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all providers; the next look opens its own again."""
        with self._lock:
            opened, self._open = list(self._open.values()), {}
        for _, provider in opened:
            provider.close()

    def forget(self, target_id: str) -> None:
        """Close the provider of a name that is no longer looked after."""
        with self._lock:
            _, provider = self._open.pop(target_id, ("", None))
        if provider is not None:
            provider.close()

    def look(self, target: Target) -> Outcome | None:
        """Make a name as wanted, as far as that is allowed, and see that it is.

        None: it was not looked at, since that is routine and what is left of the account's calls is for changes.
        Raise `TransientError` (`Blocked` among them), `PermanentError`, or `Invalid` where the options do not fit.
        """
        provider = self._provider(target)
        if target.routine and not self._limiter.spares(provider.account):
            return None
        first: Plan | None = None
        lost: TransientError | None = None
        applied = False
        for _ in range(ROUNDS):
            found = self._plan(target, self._read(target, provider))
            first = first or found
            drift = differences(first) if target.verified and not first.stopped else ()
            todo, held = _allowed(target, found, publishes=provider.capabilities.publishes)
            if not todo:
                return Outcome(found, held, drift, applied)
            if lost is not None:
                raise lost
            if applied:
                # Another write would be made from what the provider may not show yet.
                raise TransientError(f"{target.name}: changes were accepted and do not show yet: {_words(found)}")
            try:
                self._apply(target, provider, todo)
            except Raced:
                continue
            except Blocked:
                raise
            except TransientError as error:
                # Whether it was done is not known: the next read says so.
                lost = error
                continue
            applied = True
            faultpoints.reached("dns.applied")
        raise TransientError(f"{target.name}: others change the name as quickly as we do")

    def preview(self, target: Target, *, adopt: bool = False) -> Plan:
        """Read a name and say what would be done there."""
        provider = self._fresh(target)
        try:
            return target.plan(self._read(target, provider), adopt=adopt)
        finally:
            provider.close()

    def check(self, kind: str, zone: str, name: str, options: Mapping[str, Any]) -> list[Finding]:
        """Have a provider look whether credential, zone and permissions are right for a name."""
        provider = self.registry.open(kind, zone, options)
        try:
            self.meters.called(kind, "check")
            return self._call(provider, lambda: provider.check(name))
        finally:
            provider.close()

    def refusals(self, kind: str, zone: str, name: str, options: Mapping[str, Any], within_s: float) -> list[Finding]:
        """Return what a provider certainly refuses; nothing where it does not say so in time."""
        found: list[Finding] = []

        def ask() -> None:
            try:
                found.extend(f for f in self.check(kind, zone, name, options) if not f.ok and f.certain)
            except PermanentError as error:
                found.append(Finding("provider", ok=False, detail=str(error)))
            except Exception:  # noqa: BLE001 - of a plugin; a bug of it shows when the name is published
                return

        asking = threading.Thread(target=ask, name=f"check {name}", daemon=True)
        asking.start()
        asking.join(within_s)
        return list(found)

    def _plan(self, target: Target, existing: tuple[Record, ...]) -> Plan:
        found = target.plan(existing)
        if found.conflicts and target.allowed_plan_id is not None:
            adopting = target.plan(existing, adopt=True)
            if adopting.id == target.allowed_plan_id:
                return adopting
        return found

    def _read(self, target: Target, provider: Provider) -> tuple[Record, ...]:
        self.meters.called(target.provider, "read")
        return self._call(provider, lambda: provider.read(target.name))

    def _apply(self, target: Target, provider: Provider, changes: Changes) -> None:
        parts = [changes]
        if not provider.capabilities.atomic and changes.deletes:
            # New addresses before old ones go: the name is never shorter than it must be.
            parts = [Changes((), changes.updates, changes.creates), Changes(changes.deletes)]
        for part in filter(None, parts):
            calls = self._call(provider, partial(provider.apply, target.name, part))
            self.meters.called(target.provider, "apply", calls)
            self._limiter.charge(provider.account, calls - 1)

    def _call(self, provider: Provider, call: Callable[[], T]) -> T:
        """Make a call that counts; where the account is turned away, note it for all names of the account."""
        self._limiter.take(provider.account)
        try:
            return call()
        except Blocked as error:
            error.retry_after_s = self._limiter.block(provider.account, error.retry_after_s)
            raise

    def _provider(self, target: Target) -> Provider:
        """Return the open provider of a name; a new one where zone or options changed."""
        print_ = _fingerprint(target)
        with self._lock:
            known = self._open.get(target.id)
        if known is not None and known[0] == print_:
            return known[1]
        self.forget(target.id)
        provider = self._fresh(target)
        with self._lock:
            self._open[target.id] = (print_, provider)
        return provider

    def _fresh(self, target: Target) -> Provider:
        return self.registry.open(target.provider, target.zone, target.options)


def _allowed(target: Target, found: Plan, *, publishes: bool) -> tuple[Changes, str | None]:
    """Return the changes that may be made now, and why the others may not."""
    if not found.changes:
        return Changes(), None
    if target.mode is Mode.DRY_RUN or not publishes:
        return Changes(), DRY_RUN
    if target.verified and target.reports_drift and found.id != target.allowed_plan_id:
        return Changes(), DRIFT
    if found.id != target.allowed_plan_id and target.needs_approval(found):
        return without_deletes(found).changes, APPROVAL
    return found.changes, None


def _words(found: Plan) -> str:
    return "; ".join(differences(found))


def _fingerprint(target: Target) -> str:
    text = json.dumps([target.provider, target.zone, dict(target.options)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

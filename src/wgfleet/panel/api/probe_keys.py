"""`/api/configs/{config}/probe-keys`: the keys with which panel and nodes probe nodes, and their rotation."""

from datetime import datetime

from fastapi import status
from pydantic import Field

from wgfleet.panel.api.auth import Admin, Reader
from wgfleet.panel.api.models import Reference, View, utc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.probe_keys import RotationStep
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import probe_keys
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import ProbeKeyRotation

router = subject_router("configs")


class RotationView(View):
    """A rotation of probe keys that is under way."""

    step: RotationStep = Field(
        description="`spread`: nodes learn the new keys; `adopted`: agents ask each other with them; `dropped`: nodes "
        "forget the old ones."
    )
    step_since: datetime
    waits_for: list[str] = Field(
        description="Names of the nodes that have yet to apply the step. Those that are down are waited for at the "
        "end only: until then the panel keeps the old keys, for them alone."
    )
    requested_by: str
    requested_at: datetime


class ProbeKeysView(View):
    """The probe keys of a config; `rotation` is null while they are not being replaced."""

    public_key: str = Field(description="The panel's own; without its private half it is of no use.")
    rotation: RotationView | None


def _rotation(tx: Tx, row: ProbeKeyRotation) -> RotationView:
    return RotationView(
        step=row.step,
        step_since=utc(row.step_since),
        waits_for=probe_keys.waits_for(tx, row),
        requested_by=row.requested_by,
        requested_at=utc(row.requested_at),
    )


@router.get("/api/configs/{config}/probe-keys", summary="Show whether a config's probe keys are being replaced")
def show_probe_keys(panel: ThePanel, _caller: Reader, config: Reference) -> ProbeKeysView:
    with panel.store.read() as tx:
        found = configs.get(tx, config)
        row = probe_keys.rotation(tx, found)
        return ProbeKeysView(public_key=found.probe_public_key, rotation=_rotation(tx, row) if row else None)


@router.post(
    "/api/configs/{config}/probe-keys", status_code=status.HTTP_202_ACCEPTED, summary="Replace a config's probe keys"
)
def rotate_probe_keys(panel: ThePanel, caller: Admin, config: Reference) -> ProbeKeysView:
    """Replace the keys with which the panel and its nodes find out whether nodes answer. No user notices.

    Nodes learn the new keys, then ask with them, then forget the old ones: three changes, at least 15 s apart, each
    once all nodes in use have the one before. A node that is down does not hold them up. Refused (409) while a
    rotation is under way.
    """
    with panel.store.write() as tx:
        found = configs.get(tx, config)
        row = probe_keys.start(tx, panel.vault, caller.actor, found)
        return ProbeKeysView(public_key=found.probe_public_key, rotation=_rotation(tx, row))

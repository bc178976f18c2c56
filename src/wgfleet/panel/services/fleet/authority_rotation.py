"""Replacing the CA: every agent learns to trust the new one, then forgets the old one, and only then do we.

Each step is a renewal of an agent's certificate, by rows that say what the agent trusts (`Trust`). All agents are
waited for: one that knows the old CA only could not be talked to any more.
"""

from collections.abc import Sequence

from wgfleet.panel import clock
from wgfleet.panel.domain.authorities import AuthorityStep, Trust
from wgfleet.panel.domain.certificates import NO_KEY
from wgfleet.panel.errors import Conflict
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, certificates
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import installation as rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import AuthorityRotation, CertificateAuthority, DepartedNode, Node
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

_CONFIRMED = {AuthorityStep.SPREAD: (Trust.BOTH, Trust.NEXT), AuthorityStep.DROPPED: (Trust.NEXT,)}


def rotation(tx: Tx) -> AuthorityRotation | None:
    """Return the replacement that is under way, or None."""
    return rows.rotation(tx)


def start(tx: Tx, vault: Vault, actor: str, *, name: str, certificate: str, key: str) -> AuthorityRotation:
    """Begin to replace the CA by this one (PEM); `name`: as in the certificates that it issues."""
    rows.lock_authority(tx)
    earlier = rows.rotation(tx)
    if earlier is not None:
        names = ", ".join(node.name for node in waits_for(tx, earlier))
        way = Reason("it waits for {names}", names=names) if names else Reason("wait for it")
        raise Conflict(Reason("the CA is being replaced already; {way}", way=way), Hint(HintCode.SHOW_AUTHORITY))
    rotation_id, now = clock.new_id(), clock.now()
    row = AuthorityRotation(
        id=rotation_id,
        name=name,
        certificate=certificate,
        key_sealed=sealed.seal(vault, AuthorityRotation.key_sealed, rotation_id, key),
        step=AuthorityStep.SPREAD,
        step_since=now,
        requested_by=actor,
        requested_at=now,
    )
    rows.add_rotation(tx, row)
    audit.record(tx, actor, "rotating", "authority", rotation_id)
    _wake_all(tx)
    return row


def waits_for(tx: Tx, row: AuthorityRotation) -> Sequence[Node]:
    """Return the nodes whose agents have yet to take the present step, by name.

    One whose certificates were revoked is none of them: it has to enroll again anyway.
    """
    found = node_rows.trusting_other_than(tx, _CONFIRMED[row.step])
    return [node for node in found if NO_KEY not in node.agent_keys]


def departed_without(tx: Tx) -> Sequence[DepartedNode]:
    """Return the deleted nodes that have yet to hear of it, and cannot any more once the old CA is gone."""
    return [each for each in node_rows.departed(tx) if each.trusts is Trust.CURRENT]


def is_due(tx: Tx, row: AuthorityRotation) -> bool:
    """Tell whether the next step may be taken."""
    return not waits_for(tx, row)


def held_up(tx: Tx, since: float) -> str | None:
    """Say that a step which was begun before a time (s since the epoch) waits; without names, as strangers hear it."""
    row = rows.rotation(tx)
    if row is None or row.step_since > since or not waits_for(tx, row):
        return None
    return "the CA is being replaced, and waits for nodes; its status names them (docs/keys.md)"


def advance(tx: Tx, vault: Vault) -> None:
    """Take the next step, if it is due; the last one forgets the old CA."""
    rows.lock_authority(tx)
    row = rows.rotation(tx)
    if row is None:
        return
    tx.refresh(row)
    if not is_due(tx, row):
        return
    if row.step is AuthorityStep.SPREAD:
        row.step, row.step_since = AuthorityStep.DROPPED, clock.now()
        audit.record(tx, audit.PANEL, "dropping_old", "authority", row.id)
    else:
        _finish(tx, vault, row)
    _wake_all(tx)


def _finish(tx: Tx, vault: Vault, row: AuthorityRotation) -> None:
    """Let the new CA be the only one here too."""
    authority = rows.authority(tx)
    if authority is None:
        raise LookupError("there is no CA to replace")
    key = sealed.unseal(vault, AuthorityRotation.key_sealed, row)
    authority.certificate, authority.created_at = row.certificate, row.requested_at
    authority.key_sealed = sealed.seal(vault, CertificateAuthority.key_sealed, authority.id, key)
    for each in departed_without(tx):
        nodes.dismissed(tx, each.id, given_up="the CA that its agent trusts was replaced before it could be reached")
    certificates.all_of_others_refused(tx, row.name)
    node_rows.all_trust_current(tx)
    rows.end_rotation(tx, row)
    audit.record(tx, audit.PANEL, "rotated", "authority", row.id)


def _wake_all(tx: Tx) -> None:
    for node_id in node_rows.ids(tx):
        tx.wake(Topic.NODE, node_id)

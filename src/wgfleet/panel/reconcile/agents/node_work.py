"""The work that a node's rows ask for: what its agent lacks of them, by what it reports, read in one transaction."""

from collections.abc import Callable
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.agents.authorities import Authorities
from wgfleet.panel.agents.authority import renewal_due
from wgfleet.panel.domain.authorities import Trust
from wgfleet.panel.domain.first_look import FirstLook
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.reconcile.agents.cleanups import Stray, strays
from wgfleet.panel.reconcile.agents.connection import Reported
from wgfleet.panel.reconcile.agents.render_cache import RenderCache
from wgfleet.panel.services import certificates
from wgfleet.panel.services.fleet import assignments, desired, forwardings, nodes
from wgfleet.panel.services.fleet.desired import PreparedPush
from wgfleet.panel.services.floating import holders
from wgfleet.panel.store import Store, Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store.tables import Assignment, Cleanup, Config, Node
from wgfleet.panel.vault import Vault, VaultError
from wgfleet.protocol import features
from wgfleet.protocol.desired import InterfaceDelta, Push
from wgfleet.protocol.features import Feature


@dataclass(frozen=True, slots=True)
class Wanted:
    """One interface: its config, the generation that it must have, and the push that gets it there (None: it is).

    `shared` goes with the push, as in `PreparedPush`. `has`: what the agent reports. `takes_away`: the push ends
    somebody's access. `unreadable`: why it cannot be made. `settled`: where it only brings changes of peers to a node
    that serves, and nothing waits for it, the drift that is known of the node. `urgent`: a floating address is on its
    way from or to the node, and its clients have none until the next step.
    """

    config_id: str
    interface: str
    generation: int
    push: Push | None
    unconfirmed: bool
    has: Reported | None = None
    takes_away: bool = False
    unreadable: VaultError | None = None
    shared: bytes = b""
    settled: tuple[str, ...] | None = None
    urgent: bool = False

    def is_routine(self, has: Reported) -> bool:
        """Tell whether nobody waits to read that the push has brought this."""
        return self.settled is not None and self.settled == tuple(assignments.described(has.drift)) and not has.held


@dataclass(frozen=True, slots=True)
class NodeWork:
    """What a node's rows ask for, read in one transaction.

    `renewal`: marks why its certificate is due for renewal (None: it is not). `revoked`: the number of the newest
    revocation that agents have to know.
    """

    wanted: tuple[Wanted, ...]
    cleanups: tuple[Cleanup, ...]
    strays: tuple[Stray, ...]
    renewal: object
    revoked: int | None


class WorkReader:
    """Reads the work of nodes. `certificate_days`: how long agents' certificates last."""

    def __init__(self, store: Store, vault: Vault, authorities: Authorities, certificate_days: int) -> None:
        self._store = store
        self._vault = vault
        self._authorities = authorities
        self._certificate_days = certificate_days
        self._renderings = RenderCache()

    def read(
        self,
        node_id: str,
        reported: dict[str, Reported],
        known: frozenset[Feature] = features.ALL,
        issuer: str | None = None,
    ) -> NodeWork:
        """Return what the rows of a node ask for, by what its agent reports and knows.

        `issuer`: the CA (its fingerprint) whose certificate the panel shows to it; None: it does not matter.
        """
        self._renderings.drop_old()
        with self._store.read() as tx:
            leaving, contested = floating_rows.leaving(tx, node_id), floating_rows.contested(tx, node_id)

            def floats(config: Config, has: Reported) -> bool:
                """Whether the report is news of a floating address."""
                return any(holders.has_left(row, has.generation, has.held) for row in leaving[config.id]) or any(
                    holders.is_taken(row, has.held) for row in contested if row.config_id == config.id
                )

            wanted = [
                self._wanted(tx, config, assignment, reported.get(config.name), known, floats)
                for assignment, config in assignment_rows.of_node(tx, node_id)
                if assignment.phase != Phase.REMOVED
            ]
            renewal = self._renewal(tx, nodes.get(tx, node_id), issuer)
            cleanups = tuple(assignment_rows.cleanups(tx, node_id))
            left = strays(reported, [each.config_id for each in wanted], cleanups)
            revoked = certificates.newest_to_tell(tx)
            return NodeWork(tuple(wanted), cleanups, left, renewal, revoked)

    def _renewal(self, tx: Tx, node: Node, issuer: str | None) -> object:
        """Mark why the certificate of a node's agent is due for renewal; None: it is not. `issuer`: of ours."""
        expires_at = node.certificate_expires_at
        if expires_at is None:
            return None
        state = self._authorities.read(tx)
        trusts = state.wanted(node.trusts)
        if trusts is Trust.NEXT and issuer not in {None, state.caller(trusts).fingerprint}:
            return None  # it would trust us no more; a connection that shows another certificate is about to open
        # One whose key is not known, or not which of two, gets a new one; and one that is to trust another CA.
        due = renewal_due(expires_at, clock.now(), self._certificate_days) or len(node.agent_keys) != 1
        return (expires_at, trusts, state.rotation_id) if due or node.trusts is not trusts else None

    def _wanted(
        self,
        tx: Tx,
        config: Config,
        assignment: Assignment,
        has: Reported | None,
        known: frozenset[Feature],
        floats: Callable[[Config, Reported], bool],
    ) -> Wanted:
        try:
            (push, shared), unreadable = self._missing(tx, config, assignment, has, known), None
        except VaultError as error:
            push, shared, unreadable = None, b"", error
        floating = has is not None and floats(config, has)
        unconfirmed = (
            assignment.applied_generation != config.generation
            or assignment.phase == Phase.JOINING
            or assignment.first_look == FirstLook.UNPROVEN
            or (has is not None and assignments.is_news(assignment, has.drift, has.held, dict(has.rivals)))
            or (has is not None and forwardings.is_news(assignment, has.forwarding))
            or floating
        )
        # Those come with settings, and go with them.
        changes = push is not None and push.settings is not None
        # A whole for what the agent has replaces it: it may be a fence.
        takes_away = (
            bool(push.remove) or not (push.settings is None or push.settings.enabled)
            if isinstance(push, InterfaceDelta)
            else push is not None and has is not None
        )
        return Wanted(
            config.id, config.name, config.generation, push, unconfirmed, has, takes_away, unreadable, shared,
            assignments.settled(tx, assignment) if isinstance(push, InterfaceDelta) and push.settings is None else None,
            floating or (changes and _is_on_its_way(tx, config, assignment)),
        )  # fmt: skip

    def _missing(
        self, tx: Tx, config: Config, assignment: Assignment, has: Reported | None, known: frozenset[Feature]
    ) -> PreparedPush | tuple[None, bytes]:
        """Render what a node lacks of a config; None where it has everything."""
        applied = has.generation if has is not None and has.config_id == config.id else None
        base = desired.usable_base(config, assignment, applied)
        base_history = desired.history(tx, config, assignment, base, known)
        if Feature.HISTORY in known and has is not None and has.history != base_history:
            base = 0
        if base == config.generation:
            return None, b""

        prepared = desired.prepared(tx, self._vault, config, assignment, base, known, self._renderings)
        if Feature.HISTORY not in known:
            return prepared
        history = desired.history(tx, config, assignment, config.generation, known)
        return prepared._replace(push=desired.in_history(prepared.push, history, base_history))


def _is_on_its_way(tx: Tx, config: Config, assignment: Assignment) -> bool:
    """Tell whether a node has yet to give up a floating address of a config, or to get one."""
    node_id, applied = assignment.node_id, assignment.applied_generation
    return config.id in floating_rows.leaving(tx, node_id) or floating_rows.any_arriving(
        tx, config.id, node_id, applied
    )

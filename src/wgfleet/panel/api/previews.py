"""Previews of dangerous calls: what a change or a deletion would mean for users. They check all, and change nothing."""

import contextlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from wgfleet.panel.api.assignments import ChangedAssignment, change
from wgfleet.panel.api.assignments import Unproven as Unasked
from wgfleet.panel.api.auth import Writer
from wgfleet.panel.api.configs import ChangedConfig, check_named
from wgfleet.panel.api.endpoint_groups import ChangedEndpointGroup
from wgfleet.panel.api.models import Identifier, Reference, Said, View
from wgfleet.panel.api.nodes import ChangedNode, Force, Unproven, need_for
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.peers import ChangedPeer
from wgfleet.panel.api.peers import change as change_peer
from wgfleet.panel.api.rule_sets import ChangedRuleSet, RuleSetReference
from wgfleet.panel.api.rule_sets import changes_of as rule_set_changes
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.api.tags import ChangedTag, TaggedPeers, TagReference, changes_of
from wgfleet.panel.domain.destination_effects import RulesOfConfig, of_change
from wgfleet.panel.domain.pool_changes import PoolChange
from wgfleet.panel.services import configs, host_names, peer_change_effects, rule_sets
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.dns import published_names
from wgfleet.panel.services.fleet import (
    assignments,
    effects,
    endpoint_groups,
    node_deletion,
    nodes,
    peers,
    pool_changes,
    public_ports,
    regrouping,
    rule_effects,
    tags,
)
from wgfleet.panel.store import Tx

router = subject_router("previews")
ABOUT_RULES = {"rule_set", "dns", "node_ports"}
"""Changes of a config that destination rules have to do with."""


class EffectsView(View):
    """What a call would mean."""

    effects: list[Said] = Field(description="Sentences for people, each about users who would notice; empty: nobody.")


class _Rehearsed(Exception):
    """Ends a transaction that is not to be committed."""


@contextmanager
def rehearsal(panel: Panel) -> Iterator[Tx]:
    """Open a transaction of which nothing stays."""
    with contextlib.suppress(_Rehearsed), panel.store.write() as tx:
        yield tx
        tx.flush()
        raise _Rehearsed


class _Reach:
    """What a rehearsed change opens and closes to whom, by destination rules."""

    def __init__(self) -> None:
        self._before: list[RulesOfConfig] = []
        self._after: list[RulesOfConfig] = []

    @contextmanager
    def compared(self, tx: Tx, config_ids: Collection[str]) -> Iterator[None]:
        """Have what is done meanwhile compared, in some configs."""
        self._before = rule_effects.at_present(tx, config_ids)
        yield
        tx.flush()
        self._after = rule_effects.at_present(tx, config_ids)

    def effects(self) -> list[str]:
        """Say it. That takes long where there are many peers: call it when the transaction has ended."""
        return of_change(self._before, self._after)


@router.post("/api/configs/{config}/preview", summary="Show what a change of a config would mean")
def preview_config(panel: ThePanel, caller: Writer, config: Reference, body: ChangedConfig) -> EffectsView:
    reach = _Reach()
    with rehearsal(panel) as tx:
        row = configs.get(tx, config)
        changes: Any = body.given()
        check_named(tx, caller, changes)
        wanted, servers = changes.pop("pools", None), changes.pop("server_addresses", ())
        # Only planned: to give many peers addresses takes long, and all changes would wait for it.
        of_pools = PoolChange()
        if wanted is not None or servers:
            of_pools = pool_changes.planned(tx, row, wanted, panel.hosts(), servers)
        before = {name: getattr(row, name) for name in changes}
        with reach.compared(tx, [row.id] if changes.keys() & ABOUT_RULES else []):
            configs.update(tx, caller.actor, row, changes)
        said = effects.of_pools(tx, row, of_pools) + effects.of_config(tx, row, before)
    return EffectsView(effects=said + reach.effects())


@router.get("/api/configs/{config}/deletion", summary="Show what is lost with a config")
def preview_config_deletion(panel: ThePanel, _caller: Writer, config: Reference) -> EffectsView:
    with panel.store.read() as tx:  # no rehearsal: to delete many peers takes long, and all changes would wait for it
        row = configs.get(tx, config)
        configs.check_deletion(tx, row)
        return EffectsView(effects=effects.of_config_deletion(tx, row))


@router.post(
    "/api/configs/{config}/endpoint-group/preview", summary="Show what a change of the endpoint group would mean"
)
def preview_endpoint_group(
    panel: ThePanel, caller: Writer, config: Reference, body: ChangedEndpointGroup
) -> EffectsView:
    """Ask no provider whether it would publish the name."""
    with rehearsal(panel) as tx:
        row = configs.get(tx, config)
        group = endpoint_groups.get(tx, row)
        before = endpoint_groups.changed(tx, group, {})
        wanted = endpoint_groups.changed(tx, group, body.given())
        group, _ = endpoint_groups.put(tx, panel.vault, caller.actor, row, wanted, panel.publisher.plugins)
        after = endpoint_groups.changed(tx, group, {"floating_addresses": wanted.floating.addresses})
        return EffectsView(effects=effects.of_endpoint_group(tx, row, before, after))


@router.get("/api/configs/{config}/endpoint-group/deletion", summary="Show what is lost with the endpoint group")
def preview_endpoint_group_deletion(panel: ThePanel, _caller: Writer, config: Reference) -> EffectsView:
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        before = endpoint_groups.changed(tx, endpoint_groups.get(tx, row), {})
        return EffectsView(effects=effects.of_endpoint_group(tx, row, before, None))


@router.post("/api/nodes/{node}/preview", summary="Show what a change of a node would mean")
def preview_node(
    panel: ThePanel, caller: Writer, node: Reference, body: ChangedNode, *, force: Unproven = False
) -> EffectsView:
    changes: Any = body.given()
    need_for(caller, changes)
    found = panel.looked_up(caller, changes.get("endpoint_name"))
    with rehearsal(panel) as tx:
        host_names.record(tx, found)
        limits.check_group(tx, caller.limit, changes)
        row = nodes.get(tx, node)
        before, called_at, group_id = row.endpoint_addresses, (row.agent_host, row.agent_port), row.group_id
        name = row.name
        nodes.update(tx, caller.actor, row, changes, force=force)
        said = effects.of_node(tx, row, before, called_at, group_id)
        said += [*regrouping.effects(tx, row, group_id), *published_names.of_renamed(tx, row, name)]
        return EffectsView(effects=said)


@router.post("/api/configs/{config}/nodes/{node_id}/preview", summary="Show what a change of an assignment would mean")
def preview_assignment(
    panel: ThePanel,
    caller: Writer,
    config: Reference,
    node_id: Reference,
    body: ChangedAssignment,
    *,
    force: Unasked = False,
) -> EffectsView:
    with rehearsal(panel) as tx:
        row, node = configs.get(tx, config), nodes.get(tx, node_id)
        before = assignments.get(tx, row, node)
        has, waits, links = before.public_port, before.next_public_port, before.public_backbone_port
        after = change(tx, caller, row, node, body, force=force)
        said = [] if after.public_backbone_port == links else effects.of_backbone_port(row, after, node)
        if after.public_port == has and after.next_public_port in {None, waits}:  # also one no longer waited for
            return EffectsView(effects=said)
        homed = assignments.homes_at(tx, row, node)
        said += effects.of_assignment(row, after, node, public_ports.of_files(tx, row), homed)
        return EffectsView(effects=said)


@router.get("/api/nodes/{node}/deletion", summary="Show what is lost with a node")
def preview_node_deletion(panel: ThePanel, _caller: Writer, node: Reference, *, force: Force = False) -> EffectsView:
    with panel.store.read() as tx:
        row = nodes.get(tx, node)
        node_deletion.check(tx, row, force=force)
        return EffectsView(effects=effects.of_node_deletion(tx, row))


@router.get("/api/peers/{peer_id}/deletion", summary="Show what is lost with a peer")
def preview_peer_deletion(panel: ThePanel, _caller: Writer, peer_id: Identifier) -> EffectsView:
    with panel.store.read() as tx:
        return EffectsView(effects=effects.of_peer_deletion(peers.get(tx, peer_id)))


@router.post("/api/peers/{peer_id}/preview", summary="Show what other destination rules or tags would mean for a peer")
def preview_peer(panel: ThePanel, caller: Writer, peer_id: Identifier, body: ChangedPeer) -> EffectsView:
    """Say which destinations another set or other tags open and close, and what limits of other tags do at once.

    Of the rest, nothing is said. What the change itself would be refused for, this is too.
    """
    reach = _Reach()
    with rehearsal(panel) as tx:
        row = peers.get(tx, peer_id)
        before = peer_change_effects.at_present(tx, [row.id])
        with reach.compared(tx, [row.config_id]):
            change_peer(tx, panel, caller, row, body)
        said = peer_change_effects.since_then(tx, [row.id], before)
    return EffectsView(effects=said + reach.effects())


@router.post("/api/tags/{tag}/preview", summary="Show what a change of a tag would mean")
def preview_tag(panel: ThePanel, caller: Writer, tag: TagReference, body: ChangedTag) -> EffectsView:
    """Say which destinations are opened or closed to whom; of the rest of a change, nothing is said."""
    reach = _Reach()
    with rehearsal(panel) as tx:
        row = tags.get(tx, tag)
        with reach.compared(tx, tags.configs_with(tx, row)):
            tags.update(tx, caller.actor, row, changes_of(body))
    return EffectsView(effects=reach.effects())


@router.post("/api/tags/{tag}/peers/preview", summary="Show what it would mean to give a tag to peers, or take it")
def preview_tag_peers(panel: ThePanel, caller: Writer, tag: TagReference, body: TaggedPeers) -> EffectsView:
    """Say whom limits cut off, delete or let in, and which destinations are opened or closed to whom; no settings."""
    reach = _Reach()
    with rehearsal(panel) as tx:
        row = tags.get(tx, tag)
        changing = {*body.add, *body.remove}
        before = peer_change_effects.at_present(tx, changing)
        with reach.compared(tx, [] if row.rule_set is None else tags.configs_of(tx, changing)):
            tags.change_peers(tx, caller.actor, row, add=body.add, remove=body.remove)
        said = peer_change_effects.since_then(tx, changing, before)
    return EffectsView(effects=said + reach.effects())


@router.get("/api/tags/{tag}/deletion", summary="Show what is lost with a tag")
def preview_tag_deletion(panel: ThePanel, caller: Writer, tag: TagReference) -> EffectsView:
    """Say which destinations are opened or closed to whom; of limits and settings, nothing is said."""
    reach = _Reach()
    with rehearsal(panel) as tx:
        row = tags.get(tx, tag)
        with reach.compared(tx, tags.configs_with(tx, row)):
            tags.delete(tx, caller.actor, row)
    return EffectsView(effects=reach.effects())


@router.post("/api/rule-sets/{rule_set}/preview", summary="Show what a change of a set of destination rules would mean")
def preview_rule_set(panel: ThePanel, caller: Writer, rule_set: RuleSetReference, body: ChangedRuleSet) -> EffectsView:
    reach = _Reach()
    with rehearsal(panel) as tx:
        row = rule_sets.get(tx, rule_set)
        with reach.compared(tx, rule_sets.configs_using(tx, row)):
            rule_sets.update(tx, caller.actor, row, rule_set_changes(body))
    return EffectsView(effects=reach.effects())


@router.get("/api/rule-sets/{rule_set}/deletion", summary="Show what is lost with a set of destination rules")
def preview_rule_set_deletion(panel: ThePanel, _caller: Writer, rule_set: RuleSetReference) -> EffectsView:
    """Refused (409) while anybody has it; so nobody notices."""
    with panel.store.read() as tx:
        rule_sets.check_deletion(tx, rule_sets.get(tx, rule_set))
        return EffectsView(effects=[])

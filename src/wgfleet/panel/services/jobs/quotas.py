"""Quotas of nodes, from what was decided on peers and from what each node has counted of them."""

from collections.abc import Sequence
from typing import NamedTuple

from wgfleet.panel.domain.jobs.quotas import part
from wgfleet.panel.services.jobs.decisions import LimitDecision
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store import usage as usage_rows
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.quota import Quota


class NodeQuota(NamedTuple):
    """A quota for a node, what the peer has left in all, and whether this node holds that."""

    quota: Quota
    left: int
    holds: bool


def of_nodes(tx: Tx, decisions: Sequence[LimitDecision]) -> dict[tuple[str, str], dict[str, NodeQuota]]:
    """Return the quotas of peers that nodes let in, by node and config, and by public key.

    Read in the transaction in which it was decided: what is left, and what nodes have counted, belong together.
    """
    of_config: dict[str, list[LimitDecision]] = {}
    for each in decisions:
        if each.verdict.left is not None and each.peer.enabled and each.peer.restricted_at is None:
            of_config.setdefault(each.peer.config_id, []).append(each)
    if not of_config:
        return {}
    carriers = assignment_rows.nodes_of(tx, sorted(of_config))
    found: dict[tuple[str, str], dict[str, NodeQuota]] = {}
    for config_id, limited in of_config.items():
        nodes = sorted(carriers.get(config_id, ()))
        sessions = session_rows.latest(tx, [each.peer.id for each in limited], nodes)
        keys = [each.peer.public_key for each in limited]
        for node_id in nodes:
            counters = usage_rows.counters(tx, node_id, config_id, keys)
            rows = found[node_id, config_id] = {}
            for each in limited:
                session = sessions.get(each.peer.id)
                holder = session.node_id if session is not None else each.peer.home_node_id
                holds = holder == node_id or len(nodes) == 1
                left = each.verdict.left or 0
                counter = counters.get(each.peer.public_key)
                life, counted = (
                    (-1, 0) if counter is None else (counter.life, counter.claimed_received + counter.claimed_sent)
                )
                quota = Quota(PublicKey(each.peer.public_key), life, counted, part(left, holds=holds))
                rows[each.peer.public_key] = NodeQuota(quota, left, holds)
    return found

"""The floor of a config: how few nodes a planned move may leave, and that its peers have room on them."""

from collections.abc import Sequence

from wgfleet.panel.domain.placement.place import Candidate
from wgfleet.panel.errors import Conflict, Exhausted
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services.fleet import placement
from wgfleet.panel.store import Tx
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Config, Node
from wgfleet.protocol.reasons import Reason


def check_floor(
    tx: Tx,
    config: Config,
    leaving: Sequence[Node],
    *,
    left: int,
    candidates: Sequence[Candidate],
    cordoned_count: bool,
) -> None:
    """Refuse to take nodes out where too few others are left, or where their peers have too little room.

    `left`: how many others there are, to be `min_nodes` at least; `cordoned_count`: cordoned ones among them.
    `candidates`: the nodes that may get the peers.
    """
    group = endpoint_group_rows.get(tx, config.id)
    least = max(1, group.min_nodes if group else 1)
    said = ", ".join(repr(node.name) for node in leaving)
    names = Reason("node {names}", names=said) if len(leaving) == 1 else Reason("nodes {names}", names=said)
    assign, force = Hint(HintCode.ASSIGN_NODE, config=config.name), Hint(HintCode.FORCE)
    if left < least:
        counted = Reason("nodes") if cordoned_count else Reason("nodes in use")
        raise Conflict(
            Reason(
                "without {names} config {config!r} would be served by {left} of at least {least} {nodes} (min_nodes)",
                names=names,
                config=config.name,
                left=left,
                least=least,
                nodes=counted,
            ),
            *([assign] if cordoned_count else [assign, Hint(HintCode.UNCORDON_NODE)]),
            force,
        )
    homes = [peer for node in leaving for peer in peer_rows.homed_on(tx, node.id, config.id)]
    homeless = placement.choose(tx, config.id, homes, candidates).left if homes and left else ()
    if homeless:
        raise Exhausted(
            Reason(
                "the other nodes of config {config!r} have no room for {left} of {all} peers of {names}",
                config=config.name,
                left=len(homeless),
                all=len(homes),
                names=names,
            ),
            Hint(HintCode.RAISE_CAPACITY),
            assign,
            force,
        )

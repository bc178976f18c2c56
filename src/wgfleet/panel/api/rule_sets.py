"""`/api/rule-sets`: destination rules, to which nodes hold what peers connect to."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, cast

from fastapi import Path, status
from pydantic import Field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import UNCHANGED, WORD_IN_PATH, After, Body, PatchBody, Said, View, page, utc
from wgfleet.panel.api.models import Limit as PageSize
from wgfleet.panel.api.models import Page as PageOf
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.destination_effects import RulesOfConfig, denied
from wgfleet.panel.domain.idle_rules import idle
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.services import rule_sets
from wgfleet.panel.services.fleet import rule_effects
from wgfleet.panel.store import Tx
from wgfleet.panel.store.rule_sets import RuleSetUse
from wgfleet.panel.store.tables import RuleSetRow
from wgfleet.protocol.destinations import MAX_NAME, MAX_NETWORKS, MAX_PORTS, MAX_RULES
from wgfleet.protocol.reasons import Reason

if TYPE_CHECKING:
    from wgfleet.panel.services.rule_sets import RuleSetChanges

router = subject_router("rule sets")
RuleSetReference = Annotated[str, Path(max_length=MAX_NAME, pattern=WORD_IN_PATH, description="An id or a name.")]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern="^[^/]*$", examples=["guests"])]
OTHERWISE = "What is done with a connection that no rule fits: true: it is let through, false: it is refused."


class RuleBody(Body):
    """A rule. It fits a connection of which all that it says is true; the first that fits decides."""

    allow: bool = Field(description="true: let through, false: refused.")
    networks: list[Annotated[str, Field(max_length=64)]] = Field(
        default=[],
        max_length=MAX_NETWORKS,
        description="It goes to one of these; empty: to any address.",
        examples=[["192.168.7.0/24"]],
    )
    transport: Literal["any", "tcp", "udp", "icmp"] = Field(default="any", description="`icmp`: also that of IPv6.")
    ports: list[Annotated[str, Field(max_length=16)]] = Field(
        default=[],
        max_length=MAX_PORTS,
        description="Ports or ranges of TCP or UDP; empty: any.",
        examples=[["443", "8000-8100"]],
    )
    place: Literal["anywhere", "users", "node", "outside"] = Field(
        default="anywhere",
        description="`users`: other users of the config and networks behind them, at whichever node; `node`: the node "
        "itself; `outside`: neither.",
    )


Rules = Annotated[
    list[RuleBody], Field(max_length=MAX_RULES, description="In order: the first that fits decides.", fail_fast=True)
]


class NewRuleSet(Body):
    """The set to create."""

    name: Name
    rules: Rules = Field(default=[])
    otherwise_allowed: bool = Field(default=True, description=OTHERWISE)


class ChangedRuleSet(PatchBody):
    """The fields to change; a field that is left out keeps its value."""

    name: Name = UNCHANGED
    rules: Rules = Field(default=UNCHANGED)
    otherwise_allowed: bool = Field(default=UNCHANGED, description=OTHERWISE)


class RuleView(View):
    """A rule."""

    allow: bool
    networks: list[str] = Field(default=[])
    transport: str = "any"
    ports: list[str] = Field(default=[])
    place: str = "anywhere"


class RuleSetView(View):
    """A set of destination rules."""

    id: str
    name: str
    rules: list[RuleView]
    otherwise_allowed: bool = Field(description=OTHERWISE)
    configs: list[str] = Field(description="Names of the configs that have it.")
    tags: list[str] = Field(description="Names of the tags that have it.")
    peers: int = Field(description="Number of peers that have it of their own.")
    held: int = Field(description="Number of peers that are held to it, by whatever they have it from.")
    warnings: list[Said] = Field(description="Things of the VPN itself that it takes from those who are held to it.")
    idle: list[Said] = Field(
        description="Rules that never count, and why: one before covers them, or nobody's address."
    )
    not_held_on: list[str] = Field(
        description="Names of nodes that hold nobody to it, as their agents are too old: upgrade them."
    )
    created_at: datetime


def _views(tx: Tx, rows: Sequence[RuleSetRow], within: Limit | None) -> list[RuleSetView]:
    uses = rule_sets.uses(tx, rows, within)
    config_ids = rule_sets.configs_using_each(tx, rows, within)
    everywhere = sorted({each for found in config_ids.values() for each in found})
    present = dict(zip(everywhere, rule_effects.at_present(tx, everywhere), strict=True))
    counted = {config_id: each.counted() for config_id, each in present.items()}
    found = []
    for row in rows:
        held = {config_id: counted[config_id][row.id] for config_id in config_ids[row.id]}
        holding = [present[config_id] for config_id, number in held.items() if number]
        found.append(_view(row, uses[row.id], sum(held.values()), holding))
    return found


def _view(row: RuleSetRow, use: RuleSetUse, held: int, holding: Sequence[RulesOfConfig]) -> RuleSetView:
    rules = rule_sets.of_row(row)
    return RuleSetView(
        id=row.id,
        name=row.name,
        rules=[RuleView.model_validate(rule) for rule in row.rules],
        otherwise_allowed=row.otherwise_allowed,
        configs=use.configs,
        tags=use.tags,
        peers=use.peers,
        held=held,
        warnings=[
            Reason("{config}: {what}", config=each.name, what=said)
            for each in holding
            for said in denied(each.own, rules)
        ],
        idle=idle(rules, [(each.name, each.own.gateways) for each in holding]),
        not_held_on=sorted({node for each in holding for node in each.too_old}),
        created_at=utc(row.created_at),
    )


@router.get("/api/rule-sets", summary="List sets of destination rules")
def list_rule_sets(panel: ThePanel, caller: Reader, after: After = None, limit: PageSize = 100) -> PageOf[RuleSetView]:
    """Who is limited to some configs sees those that these use."""
    with panel.store.read() as tx:
        found = rule_sets.page(tx, after, limit + 1, caller.limit)
        return page(found, limit, lambda rows: _views(tx, rows, caller.limit))


@router.post("/api/rule-sets", status_code=status.HTTP_201_CREATED, summary="Create a set of destination rules")
def create_rule_set(panel: ThePanel, caller: Writer, body: NewRuleSet) -> RuleSetView:
    """Nobody is held to it before a peer, a tag or a config has it (`rule_set` there)."""
    with panel.store.write() as tx:
        set_id = rule_sets.create(tx, caller.actor, cast("RuleSetChanges", body.model_dump())).id
    return _shown(panel, set_id)


@router.get("/api/rule-sets/{rule_set}", summary="Show a set of destination rules")
def show_rule_set(panel: ThePanel, caller: Reader, rule_set: RuleSetReference) -> RuleSetView:
    with panel.store.read() as tx:
        return _views(tx, [rule_sets.get(tx, rule_set, caller.limit)], caller.limit)[0]


@router.patch("/api/rule-sets/{rule_set}", summary="Change a set of destination rules")
def update_rule_set(panel: ThePanel, caller: Writer, rule_set: RuleSetReference, body: ChangedRuleSet) -> RuleSetView:
    """Nodes hold peers to it at once, open connections too."""
    with panel.store.write() as tx:
        row = rule_sets.get(tx, rule_set)
        set_id = rule_sets.update(tx, caller.actor, row, changes_of(body)).id
    return _shown(panel, set_id)


def _shown(panel: Panel, set_id: str) -> RuleSetView:
    """Show a set after its commit: to count who is held to it takes a while, in which nobody else would write."""
    with panel.store.read() as tx:
        return _views(tx, [rule_sets.get(tx, set_id)], None)[0]


def changes_of(body: ChangedRuleSet) -> "RuleSetChanges":
    """Return what a body asks for; rules with all that they have by default."""
    given = body.given()
    if "rules" in given:
        given["rules"] = [rule.model_dump() for rule in body.rules]
    return cast("RuleSetChanges", given)


@router.delete(
    "/api/rule-sets/{rule_set}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a set of destination rules"
)
def delete_rule_set(panel: ThePanel, caller: Writer, rule_set: RuleSetReference) -> None:
    """Refused (409) while a peer, a tag or a config has it."""
    with panel.store.write() as tx:
        rule_sets.delete(tx, caller.actor, rule_sets.get(tx, rule_set))

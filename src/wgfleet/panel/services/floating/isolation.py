"""Rules by which isolated nodes give their addresses up, as rows: the time allowed, and who is asked."""

from wgfleet.panel.domain.floating import GIVE_UP_AFTER_S
from wgfleet.panel.services import generations
from wgfleet.panel.services.floating import carriers
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import installation as installation_rows

GIVE_UP_AFTER = "health.give_up_after_s"


def give_up_after_s(tx: Tx) -> float:
    """Return after how many s nodes give addresses up; see `protocol.desired.FloatingSettings`."""
    rendered = installation_rows.rendered_setting(tx, GIVE_UP_AFTER)
    return GIVE_UP_AFTER_S if rendered is None else rendered


def set_give_up_after(tx: Tx, seconds: float) -> None:
    """Push the panel's setting to the nodes if it changed since the last start. Call it at the start."""
    if installation_rows.rendered_setting(tx, GIVE_UP_AFTER) == seconds:
        return
    installation_rows.set_rendered_setting(tx, GIVE_UP_AFTER, seconds)
    for config_id in floating_rows.configs_with(tx):
        if carriers.of_config(tx, config_id).on_agent:
            generations.bump(tx, config_id, settings=True)


def witnesses_changed(tx: Tx, node_id: str) -> None:
    """Push a node's new addresses to the nodes of its configs, for which it is a witness."""
    for _, config in assignment_rows.of_node(tx, node_id):
        generations.bump(tx, config.id, settings=True)

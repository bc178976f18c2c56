"""Values of details that are words of the panel's own, such as states and roles; translated where they are shown."""

from typing import Any

from wgfleet.panel.web.detail_names import DETAIL_NAMES
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.words import STATES

CHANGED = "changed"  # a detail that has names of fields
_STATES = {name: word.text for name, word in STATES.items()}
_ROLES = {
    "admin": marked("administrator"),
    "operator": marked("operator"),
    "viewer": marked("viewer"),
    "self-service": marked("own devices only"),
}
_KINDS = {
    # of operations
    "remove_node": marked("removal of a node"),
    "failover": marked("failover"),
    "drain": marked("drain"),
    "rebalance": marked("rebalance"),
    "move_address": marked("move of a floating address"),
    "drain_group": marked("drain of a node group"),
    "change_peers": marked("change of many peers"),
    "move_peers": marked("move of many peers"),
    # of providers
    "oidc": "OpenID Connect",
    "ldap": "LDAP",
    "forwarded": marked("a proxy that vouches"),
    # of certificates
    "agent": marked("agent"),
    "panel": marked("panel"),
    "client": marked("client of agents"),
}
DETAIL_VALUES: dict[str, dict[str, str]] = {
    "action": {
        "restrict": marked("keep it out"),
        "delete": marked("delete it"),
        "warn": marked("write it into the audit log"),
        "reset_total_data_usage": marked("start counting again"),
        "none": marked("no limit of this kind, whatever tags and config say"),
    },
    "before": _STATES | _ROLES,
    "by": {"agent": marked("agent"), "link": marked("link"), "password": marked("password")},
    "does": {
        "enable": marked("switch on"),
        "disable": marked("switch off"),
        "delete": marked("delete"),
        "add_tag": marked("add a tag"),
        "remove_tag": marked("take a tag off"),
        "set_job": marked("set a limit"),
        "set_group": marked("set the node group"),
        "set_speeds": marked("set speeds"),
        "set_nodes": marked("choose the nodes that they may use"),
        "move": marked("move"),
        "table": marked("make what a table says"),
    },
    "factor": {
        "password": marked("password"),
        "totp": marked("code of an authenticator app"),
        "recovery code": marked("recovery code"),
    },
    "field": {
        "total_data": marked("traffic in both directions"),
        "total_receive": marked("traffic from the device"),
        "total_sent": marked("traffic to the device"),
        "date": marked("a date, or a time after the first use"),
        "schedule": marked("hours of the week"),
        "endpoints": marked("devices that use its file at once"),
    },
    "first_look": {
        "answered": marked("it answered"),
        "unreached": marked("it did not answer"),
        "unproven": marked("nobody could tell"),
    },
    "kind": _KINDS,
    "mode": {"cluster": marked("cluster"), "independent": marked("independent")},
    "role": _ROLES,
    "state": _STATES,
}


def value_of(detail: str, value: Any) -> Any:
    """Return what a value of a detail says, in English, to be translated; None: it is no word of ours."""
    if not isinstance(value, str):
        return None
    return DETAIL_NAMES.get(value) if detail == CHANGED else DETAIL_VALUES.get(detail, {}).get(value)

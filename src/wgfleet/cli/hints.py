"""The CLI's words for hints: the command that helps, as a person at a terminal would type it."""

import shlex
from typing import Any

from wgfleet.panel.hints import ARGUMENTS, HintCode, joined

# code -> words with {command} where it stands, and the command itself after `wgfleet`
COMMANDS: dict[HintCode, tuple[str, str]] = {
    HintCode.LIST_CONFIGS: ("list them with {command}", "config list"),
    HintCode.LIST_NODES: ("list them with {command}", "node list"),
    HintCode.LIST_NODE_GROUPS: ("list them with {command}", "group list"),
    HintCode.LIST_TAGS: ("list them with {command}", "tag list"),
    HintCode.LIST_RULE_SETS: ("list them with {command}", "rule-set list"),
    HintCode.LIST_OPERATIONS: ("list them with {command}", "operation list"),
    HintCode.LIST_BACKUPS: ("list them with {command}", "backup list"),
    HintCode.LIST_API_KEYS: ("list them with {command}", "key list"),
    HintCode.LIST_USERS: ("list them with {command}", "user list"),
    HintCode.LIST_SIGN_INS: ("list them with {command}", "user sign-ins"),
    HintCode.LIST_CERTIFICATES: ("list them with {command}", "certificate list"),
    HintCode.SHOW_AUTHORITY: ("see how far it is with {command}", "certificate rotate-ca --status"),
    HintCode.LIST_PEERS: ("list them with {command}", "peer list {config}"),
    HintCode.LIST_CONFIG_NODES: ("list the nodes of the config with {command}", "config nodes {config}"),
    HintCode.WAIT_FOR_NODE: ("wait until the node is connected ({command})", "node show {node}"),
    HintCode.ASSIGN_NODE: ("assign a node ({command})", "config assign {config} NODE"),
    HintCode.UNASSIGN_NODE: ("unassign it first ({command})", "config unassign {config} {node}"),
    HintCode.UNCORDON_NODE: ("uncordon a node ({command})", "node uncordon {node}"),
    HintCode.RAISE_CAPACITY: (
        "raise the capacity of a node ({command})",
        "node update {node} --capacity NUMBER",
    ),
    HintCode.MAKE_API_KEY: ("make another key first ({command}, where the panel runs)", "panel admin-key NAME"),
    HintCode.MAKE_JOIN_TOKEN: ("make a new one with {command}", "node join {node}"),
    HintCode.SET_ENDPOINT_GROUP: (
        "set its endpoint group ({command})",
        "config endpoint {config} --domain NAME",
    ),
    HintCode.MAKE_ENDPOINT_GROUP: (
        "set its endpoint group ({command})",
        "config endpoint {config} --domain NAME",
    ),
    HintCode.ADD_WITNESS: ("add a witness elsewhere ({command})", "node create NAME --witness --agent-host HOST"),
    HintCode.RESUME_AUTOMATION: ("resume it ({command})", "config resume {config}"),
    HintCode.PLAN_ADOPTION: ("read the new plan with {command}", "dns plan {config} --adopt"),
    HintCode.LIST_RELAYS: ("list them with {command}", "relay list --config {config} --node {node}"),
    HintCode.WAIT_FOR_RELAYS: (
        "wait until they have come to other nodes ({command})",
        "relay list --config {config} --node {node}",
    ),
    HintCode.ADD_FLOATING: (
        "give the config floating addresses ({command})",
        "config endpoint {config} --floating-address ADDRESS",
    ),
    HintCode.COUNT_AGAIN: ("or, if this database is to count, run {command} where this panel runs", "panel restored"),
}
# Options of the command that was refused.
AGAIN = {
    HintCode.FORCE: "repeat with --force",
    HintCode.OTHER_POOLS: "repeat with another range, such as --pool 10.77.0.0/24",
    HintCode.OTHER_PORT: "repeat with another port, such as --listen-port 51999",
    HintCode.RELAY: "repeat with --relay-hours, so that the node passes on the packets of clients that nobody else can "
    "call",
}


def sentence(problem: dict[str, Any]) -> str:
    """Return what a problem of the API says, with commands for its ways out.

    The API's own text where one of its hints has no command here, as those of a newer panel may.
    """
    detail = str(problem["detail"])
    hints = problem.get("hints")
    if not hints:
        return detail
    try:
        return joined(str(problem["reason"]), [_words(hint["code"], hint.get("arguments") or {}) for hint in hints])
    except (LookupError, TypeError, ValueError, AttributeError):
        return detail


def with_ways_out(reason: str, codes: list[str], arguments: dict[str, str]) -> str:
    """Return a reason and its ways out, as commands; those that only a newer panel knows are left out."""
    return joined(reason, [_words(code, arguments) for code in codes if code in set(HintCode)])


def _words(code: str, arguments: dict[str, Any]) -> str:
    known = HintCode(code)
    if known in AGAIN:
        return AGAIN[known]
    words, command = COMMANDS[known]
    values = {name: shlex.quote(str(arguments[name])) for name in ARGUMENTS if name in arguments}
    return words.format(
        command=f"`wgfleet {command.format(**{name: values.get(name, name.upper()) for name in ARGUMENTS})}`"
    )

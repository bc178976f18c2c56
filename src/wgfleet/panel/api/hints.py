"""The API's words for hints: the call that helps, as somebody with curl would type it."""

from dataclasses import dataclass
from urllib.parse import quote

from wgfleet.panel.hints import ARGUMENTS, Hint, HintCode, joined


@dataclass(frozen=True, slots=True)
class Call:
    """A call that helps. `words` have `{call}` where it stands; `path` may have arguments and a query."""

    words: str
    method: str
    path: str


CALLS: dict[HintCode, Call] = {
    HintCode.LIST_CONFIGS: Call("list them with {call}", "GET", "/api/configs"),
    HintCode.LIST_NODES: Call("list them with {call}", "GET", "/api/nodes"),
    HintCode.LIST_NODE_GROUPS: Call("list them with {call}", "GET", "/api/node-groups"),
    HintCode.LIST_TAGS: Call("list them with {call}", "GET", "/api/tags"),
    HintCode.LIST_RULE_SETS: Call("list them with {call}", "GET", "/api/rule-sets"),
    HintCode.LIST_OPERATIONS: Call("list them with {call}", "GET", "/api/operations"),
    HintCode.LIST_BACKUPS: Call("list them with {call}", "GET", "/api/backups"),
    HintCode.LIST_API_KEYS: Call("list them with {call}", "GET", "/api/keys"),
    HintCode.LIST_USERS: Call("list them with {call}", "GET", "/api/users"),
    HintCode.LIST_SIGN_INS: Call("list them with {call}", "GET", "/api/sign-ins"),
    HintCode.LIST_CERTIFICATES: Call("list them with {call}", "GET", "/api/certificates"),
    HintCode.SHOW_AUTHORITY: Call("see how far it is with {call}", "GET", "/api/authority"),
    HintCode.LIST_PEERS: Call("list them with {call}", "GET", "/api/configs/{config}/peers"),
    HintCode.LIST_CONFIG_NODES: Call("list the nodes of the config with {call}", "GET", "/api/configs/{config}/nodes"),
    HintCode.WAIT_FOR_NODE: Call("wait until the node is connected ({call})", "GET", "/api/nodes/{node}"),
    HintCode.ASSIGN_NODE: Call("assign a node ({call})", "POST", "/api/configs/{config}/nodes"),
    HintCode.UNASSIGN_NODE: Call("unassign it first ({call})", "DELETE", "/api/configs/{config}/nodes/{node}"),
    HintCode.UNCORDON_NODE: Call("uncordon a node ({call})", "POST", "/api/nodes/{node}/uncordon"),
    HintCode.RAISE_CAPACITY: Call("raise the capacity of a node ({call})", "PATCH", "/api/nodes/{node}"),
    HintCode.MAKE_API_KEY: Call("make another key first ({call})", "POST", "/api/keys"),
    HintCode.MAKE_JOIN_TOKEN: Call("make a new one with {call}", "POST", "/api/nodes/{node}/join-token"),
    HintCode.SET_ENDPOINT_GROUP: Call(
        "set its endpoint group ({call})", "PATCH", "/api/configs/{config}/endpoint-group"
    ),
    HintCode.MAKE_ENDPOINT_GROUP: Call(
        "make its endpoint group ({call})", "POST", "/api/configs/{config}/endpoint-group"
    ),
    HintCode.ADD_WITNESS: Call("add a witness elsewhere ({call} with witness=true)", "POST", "/api/nodes"),
    HintCode.RESUME_AUTOMATION: Call("resume it ({call})", "POST", "/api/configs/{config}/automation"),
    HintCode.PLAN_ADOPTION: Call("read the new plan with {call}", "GET", "/api/dns/{config}/plan?adopt=true"),
    HintCode.LIST_RELAYS: Call("list them with {call}", "GET", "/api/relays?config={config}&node={node}"),
    HintCode.WAIT_FOR_RELAYS: Call(
        "wait until they have come to other nodes ({call})", "GET", "/api/relays?config={config}&node={node}"
    ),
    HintCode.ADD_FLOATING: Call(
        "give the config floating addresses ({call})", "PATCH", "/api/configs/{config}/endpoint-group"
    ),
    HintCode.COUNT_AGAIN: Call("or, if this database is to count, do what {call} says", "GET", "/readyz"),
}
# Parameters of the call that was refused, and no calls of their own.
AGAIN = {
    HintCode.FORCE: "repeat with force=true",
    HintCode.OTHER_POOLS: "repeat with other `pools`",
    HintCode.OTHER_PORT: "repeat with another `listen_port`",
    HintCode.RELAY: "repeat with relay_s, so that the node passes on the packets of clients that nobody else can call",
}


def sentence(detail: str, hints: tuple[Hint, ...]) -> str:
    """Return what is wrong and the ways out in one sentence."""
    return joined(detail, [_words(hint) for hint in hints])


def _words(hint: Hint) -> str:
    if hint.code in AGAIN:
        return AGAIN[hint.code]
    call = CALLS[hint.code]
    known = {name: quote(value, safe="") for name, value in hint.arguments.items()}
    path = call.path.format(**{name: known.get(name, name.upper()) for name in ARGUMENTS})
    return call.words.format(call=f"{call.method} {path}")

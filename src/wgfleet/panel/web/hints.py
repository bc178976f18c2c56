"""Ways out of a refusal as links: the page that helps, for each hint."""

from dataclasses import dataclass
from urllib.parse import quote

from wgfleet.panel.hints import ARGUMENTS, Hint, HintCode
from wgfleet.panel.web.languages import marked


@dataclass(frozen=True, slots=True)
class HelpfulPage:
    """Words, and a path of ours with the hint's arguments in it; where one of those is not known, the words alone."""

    words: str
    path: str


WAYS_OUT = {
    HintCode.LIST_CONFIGS: HelpfulPage(marked("see all configs"), "/configs"),
    HintCode.LIST_NODES: HelpfulPage(marked("see all nodes"), "/nodes"),
    HintCode.LIST_NODE_GROUPS: HelpfulPage(marked("see all node groups"), "/node-groups"),
    HintCode.LIST_OPERATIONS: HelpfulPage(marked("see all operations"), "/operations"),
    HintCode.LIST_BACKUPS: HelpfulPage(marked("see all backups"), "/backups"),
    HintCode.LIST_TAGS: HelpfulPage(marked("see all tags"), "/tags"),
    HintCode.LIST_RULE_SETS: HelpfulPage(marked("see all rule sets"), "/rule-sets"),
    HintCode.LIST_API_KEYS: HelpfulPage(marked("see all API keys"), "/settings/keys"),
    HintCode.LIST_USERS: HelpfulPage(marked("see all users"), "/settings/users"),
    HintCode.LIST_SIGN_INS: HelpfulPage(marked("see who is signed in"), "/settings/sign-ins"),
    HintCode.LIST_CERTIFICATES: HelpfulPage(marked("see all certificates"), "/settings"),
    HintCode.SHOW_AUTHORITY: HelpfulPage(marked("see how far it is"), "/settings"),
    HintCode.LIST_PEERS: HelpfulPage(marked("see the peers of the config"), "/peers?config={config}"),
    HintCode.LIST_CONFIG_NODES: HelpfulPage(marked("see the nodes of the config"), "/configs/{config}"),
    HintCode.WAIT_FOR_NODE: HelpfulPage(marked("wait until the node is connected"), "/nodes/{node}"),
    HintCode.ASSIGN_NODE: HelpfulPage(marked("assign a node to the config"), "/configs/{config}"),
    HintCode.UNASSIGN_NODE: HelpfulPage(marked("take the node out of the config first"), "/configs/{config}"),
    HintCode.UNCORDON_NODE: HelpfulPage(marked("let a node take peers again"), "/nodes/{node}"),
    HintCode.RAISE_CAPACITY: HelpfulPage(marked("raise the capacity of a node"), "/nodes/{node}"),
    HintCode.MAKE_API_KEY: HelpfulPage(marked("make another API key first"), "/settings/keys/new"),
    HintCode.MAKE_JOIN_TOKEN: HelpfulPage(marked("make a new join token"), "/nodes/{node}"),
    HintCode.SET_ENDPOINT_GROUP: HelpfulPage(marked("set the endpoint group of the config"), "/configs/{config}"),
    HintCode.MAKE_ENDPOINT_GROUP: HelpfulPage(marked("set the endpoint group of the config"), "/configs/{config}"),
    HintCode.ADD_WITNESS: HelpfulPage(marked("add a witness elsewhere"), "/nodes"),
    HintCode.RESUME_AUTOMATION: HelpfulPage(marked("resume the automation of the config"), "/configs/{config}"),
    HintCode.PLAN_ADOPTION: HelpfulPage(marked("look at the new plan"), "/dns/{config}/plan?adopt=true"),
    HintCode.COUNT_AGAIN: HelpfulPage(marked("or, if this database is to count, run `wgfleet panel restored`"), ""),
    HintCode.RELAY: HelpfulPage(marked("let the node pass on packets for a while"), ""),
    HintCode.LIST_RELAYS: HelpfulPage(marked("see who still hangs on the node"), "/configs/{config}/relays"),
    HintCode.WAIT_FOR_RELAYS: HelpfulPage(
        marked("wait until they have come to other nodes"), "/configs/{config}/relays"
    ),
    HintCode.ADD_FLOATING: HelpfulPage(marked("give the config floating addresses"), "/configs/{config}"),
    HintCode.OTHER_POOLS: HelpfulPage(marked("choose other networks, at *Other networks or port* below"), ""),
    HintCode.OTHER_PORT: HelpfulPage(marked("choose another port, at *Other networks or port* below"), ""),
    HintCode.FORCE: HelpfulPage(marked("do it all the same, where the form offers that"), ""),
}


def way_out(hint: Hint) -> HelpfulPage:
    """Return the words and the path for a hint, as far as its arguments are known."""
    found = WAYS_OUT[hint.code]
    known = {name: quote(value, safe="") for name, value in hint.arguments.items()}
    if any(f"{{{name}}}" in found.path and name not in known for name in ARGUMENTS):
        return HelpfulPage(found.words, "")
    return HelpfulPage(found.words, found.path.format(**known))

"""Ways out of a refusal, as data: a code says which call helps, its arguments say with what.

An error names them; the API, the CLI and a web page each put them in their own words. No imports beyond the standard
library: the CLI needs the codes on machines without the panel's libraries.
"""

from dataclasses import dataclass, fields
from enum import StrEnum, auto


class HintCode(StrEnum):
    """One call that helps. A name in brackets is an argument; a missing one is shown as a placeholder."""

    LIST_CONFIGS = auto()
    LIST_NODES = auto()
    LIST_NODE_GROUPS = auto()
    LIST_OPERATIONS = auto()
    LIST_BACKUPS = auto()
    LIST_TAGS = auto()
    LIST_RULE_SETS = auto()
    LIST_API_KEYS = auto()
    LIST_USERS = auto()
    LIST_SIGN_INS = auto()
    LIST_CERTIFICATES = auto()
    SHOW_AUTHORITY = auto()
    LIST_PEERS = auto()  # (config)
    LIST_CONFIG_NODES = auto()  # (config)
    WAIT_FOR_NODE = auto()  # (node)
    ASSIGN_NODE = auto()  # (config)
    UNASSIGN_NODE = auto()  # (config, node)
    UNCORDON_NODE = auto()  # (node)
    RAISE_CAPACITY = auto()  # (node)
    MAKE_API_KEY = auto()
    MAKE_JOIN_TOKEN = auto()  # (node)
    SET_ENDPOINT_GROUP = auto()  # (config)
    MAKE_ENDPOINT_GROUP = auto()  # (config): it has none yet
    ADD_WITNESS = auto()
    RESUME_AUTOMATION = auto()  # (config)
    PLAN_ADOPTION = auto()  # (config)
    COUNT_AGAIN = auto()  # of a panel that nodes no longer obey
    RELAY = auto()  # (config, node): the same call again, with relays
    LIST_RELAYS = auto()  # (config, node)
    WAIT_FOR_RELAYS = auto()  # (config, node): until nobody hangs on them
    ADD_FLOATING = auto()  # (config)
    OTHER_POOLS = auto()  # the same import again, into another range
    OTHER_PORT = auto()  # likewise, with another port
    FORCE = auto()  # the same call again, without the check that refused it


@dataclass(frozen=True, slots=True)
class Hint:
    """A way out: a code, and the ids or names that its call needs, as far as they are known."""

    code: HintCode
    config: str | None = None
    node: str | None = None

    @property
    def arguments(self) -> dict[str, str]:
        """The arguments that are known."""
        values = {name: getattr(self, name) for name in ARGUMENTS}
        return {name: value for name, value in values.items() if value is not None}


LIST = "list them with "
"""How ways out begin, in the API and the CLI, that list what there is."""
ARGUMENTS = tuple(field.name for field in fields(Hint) if field.name != "code")


def joined(reason: str, ways_out: list[str]) -> str:
    """Return one sentence of a reason and the ways out, of which one is enough."""
    if not ways_out:
        return reason
    *others, last = ways_out
    if others and others[-1].startswith(LIST):
        last = last.removeprefix(LIST)
    return f"{reason}; {', '.join(others)}, or {last}" if others else f"{reason}; {last}"

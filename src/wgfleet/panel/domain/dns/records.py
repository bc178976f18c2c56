"""DNS records of one name, and changes of them: pure values. `plan` computes the changes."""

from dataclasses import dataclass

ADDRESS_TYPES = ("A", "AAAA")
AUTOMATIC_TTL_S = 1  # stands for "the provider chooses"


@dataclass(frozen=True, slots=True)
class Record:
    """One record at a name. `content` in canonical form (an address as `ipaddress` prints it), `ttl` in s.

    `owner` is the mark that was found with it, None if there is none; ours is `mark(...)`. `proxied`: answered by
    the provider's own machines, which do not carry WireGuard. `handle` is the provider's way to name the record, and
    no part of what it says.
    """

    type: str
    content: str
    ttl: int
    owner: str | None = None
    proxied: bool = False
    handle: str | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of a name's records. `deletes`, and the first record of each of `updates`, are as they were read."""

    deletes: tuple[Record, ...] = ()
    updates: tuple[tuple[Record, Record], ...] = ()
    creates: tuple[Record, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.deletes or self.updates or self.creates)


def mark(panel_id: str, config_id: str) -> str:
    """Return the mark of records that this panel keeps for a config: at most 100 characters, printable ASCII."""
    return f"wgfleet {panel_id}/{config_id}"

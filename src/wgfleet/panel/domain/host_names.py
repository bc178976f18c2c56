"""Values of lookups of host names. Pure; `panel.host_names` makes the lookups."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lookup:
    """The addresses of a name, sorted; without any, `error` says why."""

    addresses: tuple[str, ...] = ()
    error: str = ""

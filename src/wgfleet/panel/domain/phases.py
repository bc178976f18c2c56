"""Phases of an assignment, in the order in which it goes through them."""

from enum import StrEnum


class Phase(StrEnum):
    """Where an assignment stands."""

    JOINING = "joining"  # its agent has not confirmed everything yet
    SERVING = "serving"
    DRAINING = "draining"  # it is being removed, and its agent still serves
    REMOVED = "removed"  # its interface is to be deleted

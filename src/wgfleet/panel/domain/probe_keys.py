"""The steps in which a config's probe keys are replaced, so that no probe meets a node that does not know its key."""

from enum import StrEnum


class RotationStep(StrEnum):
    """What the nodes of a config have of its old and new probe keys, or are being given."""

    SPREAD = "spread"  # nodes know both; agents ask each other with the old ones
    ADOPTED = "adopted"  # nodes know both; agents ask each other with the new ones
    DROPPED = "dropped"  # nodes know the new ones only

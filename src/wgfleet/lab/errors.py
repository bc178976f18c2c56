"""The lab's one error."""


class LabError(Exception):
    """Something that the lab needs is not there or did not happen; the text says what, and the way out."""

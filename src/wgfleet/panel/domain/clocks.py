"""Rules on the clocks of nodes, by how far they are ahead of the panel's, in s. Pure."""

WARNING_S = 1.0  # beyond what the measurement may be wrong by


def is_right(ahead_s: float | None) -> bool:
    """Tell whether a clock is right enough; one that nobody has measured yet is taken to be."""
    return abs(ahead_s or 0.0) <= WARNING_S

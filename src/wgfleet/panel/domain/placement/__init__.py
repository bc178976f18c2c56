"""Placement as values: which node becomes a peer's home, and what the loss of a node would do."""

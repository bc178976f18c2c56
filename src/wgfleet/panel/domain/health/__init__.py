"""Health as values: probe results become votes, votes become a verdict on each node."""

"""Nodes, groups, assignments and peers, and what each node must have."""

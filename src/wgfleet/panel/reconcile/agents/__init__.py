"""Connections to agents: watch streams, pushes of desired state, and what nodes report."""

"""Probes over the network: WireGuard initiations and their answers. Used by both panel and agent."""

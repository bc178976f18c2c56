"""The IO part of probes: sends WireGuard initiations and waits for answers. Used by panel and agent alike."""

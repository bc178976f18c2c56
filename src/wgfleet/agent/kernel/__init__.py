"""All privileged IO of the agent: links, WireGuard devices, wireguard-go processes, nftables.

No decisions here beyond order and retry: what is to be done arrives as values.
"""

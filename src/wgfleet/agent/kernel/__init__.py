"""All privileged IO of the agent: links, WireGuard devices, wireguard-go processes, nftables.

No decisions here beyond order and retry: what to do comes in as values.
"""

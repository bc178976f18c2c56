"""Joining a panel: the node's certificate, its renewal, and the CA that it trusts."""

"""What a Linux client may install beside its WireGuard file: package data, put into bundles by `services/bundle.py`.

Nothing in here runs on a panel or a node, and nothing here may hold a value of a peer.
"""

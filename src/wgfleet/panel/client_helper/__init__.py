"""The helper for Linux clients: package data, which `services/clients/bundle.py` puts into bundles.

Nothing in here runs on a panel or a node, and nothing here may hold a value of a peer.
"""

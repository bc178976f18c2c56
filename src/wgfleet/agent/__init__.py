"""The agent: keeps the WireGuard interfaces of one node at the state that the panel wants.

It stores the last desired state, applies it at start without the panel, repairs drift, and keeps forwarding whatever
happens to the panel. It touches no interface that it did not create. Privileged IO lives in `kernel` only.
"""

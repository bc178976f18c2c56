"""The agent's state on disk: its identity, the desired state, and the interfaces that it made."""

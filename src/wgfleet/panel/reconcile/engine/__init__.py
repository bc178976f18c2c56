"""The engine under every reconciler: the keyed runner, background tasks, threads for blocking work, events."""

"""WireGuard interfaces kept at their desired state: admission of pushes, reconciliation, takeover, isolation."""

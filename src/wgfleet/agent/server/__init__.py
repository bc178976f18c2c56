"""The agent's HTTPS server: mutual TLS, routes for the panel, routes for a person with curl, metrics."""

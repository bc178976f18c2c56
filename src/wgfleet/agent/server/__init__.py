"""The agent's HTTPS server: mutual TLS, routes for the panel, routes for people with curl, metrics."""

"""The panel's side of its agents: the private CA, TLS, and the client of the agent API.

Knows no rows but the authority's, and no services: callers compose the two.
"""

"""Services, one folder or file a subject: validation, decisions, rows and audit, in a transaction of the caller.

Functions take `tx` first, then the vault where secrets are touched, then the actor (`key:NAME`, `panel`,
`node:NAME`), and raise `wgfleet.panel.errors`. They never speak HTTP and never SQL.
"""

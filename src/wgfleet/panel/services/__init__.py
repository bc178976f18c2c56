"""What the panel can be asked to do: validation, decisions, rows and audit, inside a transaction the caller opened.

Functions take `tx` first, then the vault where secrets are touched, then the actor (`key:NAME`, `panel`,
`node:NAME`), and raise `wgfleet.panel.errors`. They never speak HTTP and never SQL.
"""

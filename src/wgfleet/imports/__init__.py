"""Readers of what other programs keep of WireGuard servers: files and databases in, one intermediate value out.

A reader is a function of a path that returns an `ImportedFleet`; `sources` names them all. Nothing that was written for
a shell or a template is ever run: it is kept as text, or reported.
"""

"""wgfleet: one panel, many WireGuard nodes, one stock file per user that survives the loss of a node."""

from importlib.metadata import version

__version__ = version("wgfleet")

"""Routing socket of pyroute2, and nothing else of pyroute2.

The package's own `__init__` imports every protocol that it knows: 7 MB, a sixth of the agent, and most of its startup.
"""

import importlib.util
import sys

if "pyroute2" not in sys.modules and (_found := importlib.util.find_spec("pyroute2")) is not None:
    sys.modules["pyroute2"] = importlib.util.module_from_spec(_found)

from pyroute2.iproute.linux import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

__all__ = ["AsyncIPRoute", "NetlinkError"]

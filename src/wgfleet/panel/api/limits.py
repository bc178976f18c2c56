"""Limits of callers at routes: what a path names must be within the limit, and what names nothing is refused.

A route that is new is closed to callers with a limit until it is listed here, or names what it is about in its path.
"""

from starlette.requests import Request

from wgfleet.panel.errors import Forbidden
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.store import Store
from wgfleet.protocol.reasons import Reason

NAMED_BY = {
    "config": "config",
    "peer_id": "peer",
    "node": "node",
    "group": "node group",
    "operation_id": "operation",
    "backup_id": "backup",
}
"""What parameters of paths name. The first that a path has decides: what is of a config is in its hands."""
NODES_OF = ("node", "node_id")
"""What paths of a config call a node that it may be on: one that serves no config of the caller's is not there."""
FILTERED = {
    ("GET", "/api/configs"),
    ("GET", "/api/nodes"),
    ("GET", "/api/node-groups"),
    ("GET", "/api/operations"),
    ("GET", "/api/backups"),
    ("POST", "/api/backups"),
    ("GET", "/api/drift"),
    ("GET", "/api/dns"),
    ("GET", "/api/events"),
    ("GET", "/live"),
    ("GET", "/"),
    ("GET", "/configs"),
    ("GET", "/events"),
    ("GET", "/operations"),
    ("GET", "/peers"),
    ("GET", "/peers/new"),
    ("POST", "/peers/new"),
    ("GET", "/peers/many/change"),
    ("POST", "/peers/many/change"),
    ("GET", "/peers/many/new"),
    ("GET", "/peers/many/table"),
    ("POST", "/peers/many/table"),
    ("POST", "/peers/many/new"),
    ("GET", "/api/tags"),
    ("GET", "/api/tags/{tag}"),
    ("GET", "/api/rule-sets"),
    ("GET", "/api/rule-sets/{rule_set}"),
    ("GET", "/api/usage"),
    ("GET", "/backups"),
    ("GET", "/backups/new"),
    ("POST", "/backups/new"),
    ("GET", "/dns"),
    ("GET", "/floating"),
    ("GET", "/rule-sets"),
    ("GET", "/rule-sets/{rule_set}"),
    ("GET", "/search"),
    ("GET", "/usage"),
    ("GET", "/nodes"),
    ("GET", "/node-groups"),
    ("GET", "/new/node"),
    ("POST", "/new/node"),
    ("POST", "/api/nodes"),
}
"""Routes that look at the limit themselves."""


def check(store: Store, caller: Caller, request: Request) -> None:
    """Raise `NotFound` for what is not within the caller's limit, and `Forbidden` where no limit can be kept."""
    path: str = request.scope["route"].path
    if (request.method, path) in FILTERED:
        return
    for parameter, kind in NAMED_BY.items():
        if parameter in request.path_params:
            with store.read() as tx:
                limits.check(tx, caller.limit, kind, request.path_params[parameter])
                for node in (request.path_params.get(name) for name in NODES_OF if parameter == "config"):
                    if node is not None:
                        limits.check_node(tx, caller.limit, node)
            return
    raise Forbidden(
        Reason("this is about all configs and nodes, and {caller} is limited to some", caller=caller.described)
    )

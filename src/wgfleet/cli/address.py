"""`wgfleet address`: floating addresses and their holders. `config endpoint` sets them."""

from wgfleet.cli.arguments import Config, FloatingAddress, Node
from wgfleet.cli.client import Client, panel, part
from wgfleet.cli.fields import show_fields
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, age_cell
from wgfleet.cli.tree import commands
from wgfleet.cli.waiting import Wait, show_operation

app = commands()
COLUMNS = ("address", "node", "in_use", "held", "leaving", "since", "conflict", "error")


@app.command("list")
@listed(*COLUMNS, wide=("next_try_at",))
def list_addresses(client: Client, config: Config) -> ListResult:
    """List the floating addresses of a config, and the nodes that hold them."""
    found = client.all(f"/api/configs/{part(config)}/floating-addresses")
    rows = [
        {**each, "node": each["node_name"], "leaving": each["leaving_node_name"], "since": age_cell(each["since"])}
        for each in found
    ]
    return ListResult(found, rows)


@app.command()
def show(
    config: Config,
    address: FloatingAddress,
    *,
    as_json: AsJson = False,
) -> None:
    """Show a floating address: its holder, and the provider's last error."""
    with panel() as client:
        found = client.get(f"/api/configs/{part(config)}/floating-addresses/{part(address)}")
        show_fields(found, as_json=as_json)


@app.command()
def move(
    config: Config,
    address: FloatingAddress,
    node: Node,
    *,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Move a floating address and its live sessions to a node."""
    path = f"/api/configs/{part(config)}/floating-addresses/{part(address)}/move"
    with panel() as client:
        operation = client.call("POST", path, {"node": node})
        show_operation(client, operation, wait=wait, as_json=as_json)

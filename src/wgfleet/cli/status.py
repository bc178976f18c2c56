"""`wgfleet status`: whether the panel does its work, and what stands in its way."""

import typer

from wgfleet.cli.client import FAILED, panel
from wgfleet.cli.output import AsJson, say, show_json
from wgfleet.cli.tree import single

app = single()


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Show whether the panel does its work, and what stands in its way; exit code 1 if it does not."""
    with panel(needs_key=False) as client:
        found = client.readiness()
    if as_json:
        show_json(found)
    else:
        standby = "; another panel decides, and this one waits for its end" if found.get("standby") else ""
        say(f"the panel is {found['status']}{standby}")
        for reason in found.get("reasons", ()):
            say(f"- {reason}")
        for task in found.get("failing", ()):
            subject = f" of {task['subject']}" if task["subject"] else ""
            say(f"- background task {task['task']}{subject} has failed {task['failures']} times")
        for warning in found.get("warnings", ()):
            say(f"warning: {warning}")
        if found.get("way_out"):
            say(f"\n{found['way_out']}")
    if found["status"] == "unavailable":
        raise typer.Exit(FAILED)

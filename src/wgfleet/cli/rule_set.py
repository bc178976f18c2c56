"""`wgfleet rule-set`: destination rules, to which nodes hold what peers connect to."""

from typing import Annotated, Any

import typer

from wgfleet.cli import completion
from wgfleet.cli.asking import DryRun, ask
from wgfleet.cli.client import Client, Document, given, panel, part
from wgfleet.cli.confirmation import Yes
from wgfleet.cli.deleting import deleted
from wgfleet.cli.fields import show_fields
from wgfleet.cli.listing import ListResult, listed
from wgfleet.cli.output import AsJson, say, show_json
from wgfleet.cli.tree import commands
from wgfleet.protocol.destination_words import RULE_EXAMPLE, rule_of, rule_text
from wgfleet.protocol.quotes import quoted

app = commands()

RuleSet = Annotated[
    str, typer.Argument(help="Id or name of the set.", autocompletion=completion.names("/api/rule-sets"))
]
Rules = Annotated[
    list[str] | None,
    typer.Option("--rule", help=f"Such as '{RULE_EXAMPLE}'; repeatable: the first that fits decides; '': none."),
]
Otherwise = Annotated[str | None, typer.Option(help="What is done with what fits no rule: allow or deny.")]


@app.command("list")
@listed("name", "held", "configs", "tags", "peers", wide=("otherwise", "warnings", "not_held_on", "id"))
def list_rule_sets(client: Client) -> ListResult:
    """List sets of destination rules; `held`: how many peers are held to each, by whatever they have it from."""
    found = client.all("/api/rule-sets")
    return ListResult(
        found,
        [{**each, "otherwise": _word(each)} for each in found],
        warnings=[w for each in found for w in _warnings(each)],
    )


@app.command()
def show(rule_set: RuleSet, *, as_json: AsJson = False) -> None:
    """Show a set: its rules in order, who has it, and what it takes by accident."""
    with panel() as client:
        _show(client.get(f"/api/rule-sets/{part(rule_set)}"), as_json=as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new set.")],
    *,
    rule: Rules = None,
    otherwise: Otherwise = None,
    as_json: AsJson = False,
) -> None:
    """Create a set; nobody is held to it before a peer, a tag or a config has it (`--rule-set` there)."""
    with panel() as client:
        made = client.call("POST", "/api/rule-sets", {"name": name, **_body(rule, otherwise)})
        _show(made, as_json=as_json)


@app.command()
def update(
    rule_set: RuleSet,
    *,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    rule: Rules = None,
    add_rule: Annotated[
        list[str] | None, typer.Option("--add-rule", help="One more rule at the end; repeatable.")
    ] = None,
    otherwise: Otherwise = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Change a set; says first who reaches what no more. `--rule` takes the place of all rules."""
    body = {**given(name=name), **_body(rule, otherwise)}
    with panel() as client:
        path = f"/api/rule-sets/{part(rule_set)}"
        if add_rule:
            before = body["rules"] if "rules" in body else client.get(path)["rules"]
            body["rules"] = [*before, *_rules(add_rule, "--add-rule")]
        ask(client, path, body, yes=yes, dry_run=dry_run)
        _show(client.change(path, body), as_json=as_json)


@app.command()
def delete(rule_set: RuleSet, *, _yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete a set; refused while a peer, a tag or a config has it."""
    with panel() as client:
        client.call("DELETE", f"/api/rule-sets/{part(rule_set)}")
    deleted(f"rule set {rule_set} was deleted", "rule_set", rule_set, as_json=as_json)


def _body(rules: list[str] | None, otherwise: str | None) -> Document:
    body: Document = {}
    if rules is not None:
        body["rules"] = _rules([rule for rule in rules if rule.strip()], "--rule")
    if otherwise is not None:
        if otherwise not in {"allow", "deny"}:
            raise typer.BadParameter(f"must be allow or deny, not {quoted(otherwise)}", param_hint="--otherwise")
        body["otherwise_allowed"] = otherwise == "allow"
    return body


def _rules(lines: list[str], option: str) -> list[dict[str, Any]]:
    try:
        return [rule_of(line) for line in lines]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _show(found: Document, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    shown: dict[str, Any] = {"name": found["name"]}
    shown |= {f"rule {number}": rule_text(rule) for number, rule in enumerate(found["rules"], 1)}
    shown |= {"otherwise": _word(found)}
    shown |= {name: found[name] for name in ("held", "configs", "tags", "peers", "created_at", "id")}
    show_fields(shown, as_json=False)
    for warning in _warnings(found):
        say(f"warning: {warning}", err=True)


def _word(found: Document) -> str:
    return "allow" if found["otherwise_allowed"] else "deny"


def _warnings(found: Document) -> list[str]:
    nodes = found["not_held_on"]
    said = [f"{found['name']}: on {', '.join(nodes)} nobody is held to it: upgrade the agent there"] if nodes else []
    return [*(f"{found['name']}, {each}" for each in [*found["warnings"], *found.get("idle", ())]), *said]

"""References to things, as people write them: a name, an id, or the last characters of one as lists show them."""

import re
import unicodedata
from collections.abc import Sequence

from wgfleet.cli.client import ABSENT, USAGE, CallFailed, Client, Document, part
from wgfleet.cli.output import SHORT, short
from wgfleet.protocol.quotes import quoted

_ID = re.compile(r"[0-9a-f]{32}")
_END = re.compile(rf"[0-9a-f]{{{SHORT // 2},}}")
MOST = 10  # things that an error names


def is_id(text: str) -> bool:
    """Tell whether a text is a whole id."""
    return _ID.fullmatch(text) is not None


def names(client: Client, kind: str) -> dict[str | None, str]:
    """Return the names of all configs, nodes or other things of a kind by id."""
    return {each["id"]: each["name"] for each in client.all(f"/api/{kind}")}


def identifier(client: Client, path: str, reference: str, shown: Sequence[str], name: str | None = None) -> str:
    """Return the id of the thing of a list that a reference stands for; the reference itself where there is none.

    `shown`: the fields by which people tell things apart, in the error where several are meant. `name`: the field that
    is as good as the id.
    """
    if _ID.fullmatch(reference):
        return reference
    listed = client.all(path)
    found = [each for each in listed if name is not None and each[name] == reference]
    if not found and _END.fullmatch(reference):
        found = [each for each in listed if each["id"].endswith(reference)]
    if len(found) > 1:
        raise _ambiguous(reference, [" ".join([short(each["id"]), *_values(each, shown)]) for each in found])
    return str(found[0]["id"]) if found else reference


def peer(client: Client, reference: str) -> str:
    """Return the id of a peer that is given as an id, as CONFIG/NAME, or as a name that one config has."""
    if _ID.fullmatch(reference):
        return reference
    config, slash, name = reference.partition("/")
    if slash:
        return str(peer_of(client, config, name)["id"])
    every = [(str(each["name"]), _called(client, each["id"], reference)) for each in client.all("/api/configs")]
    meant = [(where, each) for where, each in every if each is not None]
    if len(meant) > 1:
        raise _ambiguous(reference, [f"{where}/{each['name']}" for where, each in meant])
    if not meant:
        raise CallFailed(
            f"there is no peer {quoted(reference)} in any config; list them with `wgfleet peer list CONFIG`", ABSENT
        )
    return str(meant[0][1]["id"])


def peer_of(client: Client, config: str, name: str) -> Document:
    """Return the peer of a config that has a name; raise `CallFailed` where none has."""
    found = _called(client, config, name)
    if found is None:
        raise CallFailed(
            f"there is no peer {quoted(name)} in {quoted(config)}; list them with `wgfleet peer list {config}`", ABSENT
        )
    return found


def peers(client: Client, references: Sequence[str]) -> list[str]:
    """Return the ids of several peers, each once; raise `CallFailed` where one is not there, before any is touched."""
    return list(dict.fromkeys(peer(client, each) for each in references))


def _called(client: Client, config: str, name: str) -> Document | None:
    wanted = unicodedata.normalize("NFC", name)
    found = client.all(f"/api/configs/{part(config)}/peers", search=name) if name.strip() else []
    return next((each for each in found if each["name"] == wanted), None)


def _values(thing: Document, fields: Sequence[str]) -> list[str]:
    return [str(thing[field]) for field in fields if thing.get(field)]


def _ambiguous(reference: str, found: Sequence[str]) -> CallFailed:
    more = f", and {len(found) - MOST} more" if len(found) > MOST else ""
    return CallFailed(f"{quoted(reference)} may be any of {', '.join(found[:MOST])}{more}; say which", USAGE)

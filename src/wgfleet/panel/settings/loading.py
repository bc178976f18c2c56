"""The loader of settings: file, environment, command line; all errors at once, each with its place and the way out."""

import codecs
import difflib
import errno
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource

from wgfleet import given_files
from wgfleet.panel.settings.model import Settings

DEFAULT_FILE = Path("/etc/wgfleet/panel.toml")
PREFIX = "WGFLEET_"
DELIMITER = "__"
# Variables of this program that are no settings: the vault's key, and what the other commands of the program read.
OTHER_VARIABLES = frozenset(
    {"WGFLEET_MASTER_KEY", "WGFLEET_URL", "WGFLEET_API_KEY", "WGFLEET_CA_FILE", "WGFLEET_ALLOW_PLAIN_HTTP"}
)
# Where pydantic's own words speak of Python.
_WORDS = {
    "path_type": "must be a path, as text",
    "tuple_type": "must be a list",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}
_MOST = 1024 * 1024  # bytes of a settings file


class SettingsProblem(NamedTuple):
    """One thing that is wrong: where it was said, which key, and why."""

    place: str
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.reason}" if self.key else f"{self.place}: {self.reason}"


class SettingsError(Exception):
    """The settings cannot be used. `problems` holds every reason."""

    def __init__(self, problems: list[SettingsProblem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def load_settings(path: Path | None, env: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings. `path` None: `DEFAULT_FILE` where there is one. `overrides`: nested, from the command line."""
    values = _read_default() if path is None else _read_file(path)
    path = path or DEFAULT_FILE
    places = dict.fromkeys(_keys(values), str(path))
    variables = {name: text for name, text in env.items() if name.upper().startswith(PREFIX)}
    whole_groups = [
        SettingsProblem("environment", name, f"is a group of settings; set {name}{DELIMITER}KEY instead")
        for name in variables
        if name.upper() in {PREFIX + group.upper() for group in _groups()}
    ]
    for problem in whole_groups:
        del variables[problem.key]
    for layer, place in ((_read_environment(variables), "environment"), (overrides or {}, "command line")):
        places |= dict.fromkeys(_keys(layer), place)
        values = _merged(values, layer)
    problems = [*whole_groups, *_misspelt(variables)]
    try:
        settings = Settings(**values).from_places(places)
    except ValidationError as error:
        problems += [_problem(dict(detail), places) for detail in error.errors(include_url=False, include_input=False)]
    if problems:
        raise SettingsError(problems)
    return settings


def _read_default() -> dict[str, Any]:
    return _read_file(DEFAULT_FILE) if _is_there(DEFAULT_FILE) else {}


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a directory that may not be entered: reading the file says so
        return True


def _read_file(path: Path) -> dict[str, Any]:
    try:
        raw = _bytes_of(path)
        codec = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        return tomllib.loads(raw.decode(codec).replace("\r\n", "\n"))
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        reason = "is not in UTF-8; save it in UTF-8"
    except tomllib.TOMLDecodeError as error:
        reason = f"is not TOML: {error}"
    except (ValueError, RecursionError):
        reason = "is not TOML: it is nested too deep, or has a number that is too long"
    raise SettingsError([SettingsProblem(str(path), "", reason)])


def _bytes_of(path: Path) -> bytes:
    raw = given_files.read(path, _MOST, pipe=True)
    if len(raw) > _MOST:
        raise OSError(errno.EFBIG, "it is too large for settings")
    return raw


def _read_environment(variables: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(Settings, case_sensitive=False)
    source.env_vars = {name.lower(): text for name, text in variables.items()}
    return source()


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _keys(values: Mapping[str, Any], parent: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{parent}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{parent}{key}.")


def _problem(detail: dict[str, Any], places: Mapping[str, str]) -> SettingsProblem:
    path = [str(part) for part in detail["loc"]]
    place = "defaults"
    for end in range(len(path), 0, -1):
        if (known := places.get(".".join(path[:end]))) is not None:
            place = known
            break
    names = [part for part in path if not part.isdigit()]
    if place == "environment":
        place, key = "environment", PREFIX + DELIMITER.join(names).upper()
    else:
        key = ".".join(path)
    if detail["type"] == "extra_forbidden":
        return SettingsProblem(place, key, "there is no such setting" + _suggestion(path))
    message = _WORDS.get(detail["type"]) or str(detail["msg"]).removeprefix("Value error, ")
    return SettingsProblem(place, key, message[:1].lower() + message[1:])


def _suggestion(path: list[str]) -> str:
    known = list(_known_keys(Settings))
    close = difflib.get_close_matches(".".join(path), known, n=1) or difflib.get_close_matches(
        path[-1], [key.rpartition(".")[2] for key in known], n=1
    )
    return f"; did you mean {close[0]}?" if close else "; see: wgfleet panel sample-settings"


def _groups() -> list[str]:
    return [key.partition(".")[0] for key in _known_keys(Settings) if "." in key]


def _known_keys(model: type[BaseModel], parent: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield parent + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _known_keys(field.annotation, f"{parent}{name}.")


def _misspelt(variables: Mapping[str, str]) -> Iterator[SettingsProblem]:
    """Name variables that look like a setting and are none; others may share our prefix for their own purposes."""
    known = {PREFIX + key.replace(".", DELIMITER).upper() for key in _known_keys(Settings)}
    for name in variables:
        upper = name.upper()
        if upper in known or upper in OTHER_VARIABLES:
            continue
        group, delimiter, _ = upper.partition(DELIMITER)
        if delimiter and group in known:
            continue  # an unknown key of a known group reaches the model, which refuses it
        close = difflib.get_close_matches(upper, sorted(known | OTHER_VARIABLES), n=1, cutoff=0.85)
        if close:
            yield SettingsProblem("environment", name, f"there is no such setting; did you mean {close[0]}?")

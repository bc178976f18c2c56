"""Sections of files of wg-quick(8), with their settings and comments, and peers that somebody commented out."""

import re
from dataclasses import dataclass, field

from wgfleet.imports.addresses import listed
from wgfleet.imports.fleet import UnreadableError
from wgfleet.imports.numbers import number
from wgfleet.protocol.reasons import Reason

DISABLED = "#[disabled]"
COMMENTED_OUT = "# peer"
"""The kind of a section of which each line has a # in front."""
_HEADER = re.compile(r"(?i)^#\s*\[peer\]\s*(#.*)?$")
_SETTING = re.compile(r"(?i)^#\s*(publickey|presharedkey|allowedips|endpoint|persistentkeepalive)\s*=([^#]*)")


@dataclass
class FileSection:
    """A section of a file: its settings by name in small letters, each with all its values, and its comments."""

    kind: str
    line: int
    disabled: bool = False
    settings: dict[str, list[str]] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)

    def one(self, name: str) -> str | None:
        """Return the last value of a setting; nothing for an empty one."""
        values = [value for value in self.settings.get(name, ()) if value]
        return values[-1] if values else None

    def many(self, name: str) -> tuple[str, ...]:
        """Return the items of all lists that a setting has."""
        return listed(",".join(self.settings.get(name, ())))

    def number(self, name: str) -> int | None:
        """Return a number; nothing for 0, `off` and what is none."""
        return number(self.one(name))

    def add(self, name: str, value: str, comments: list[str]) -> None:
        """Take a setting, and the comments in front of it."""
        self.settings.setdefault(name.strip().lower(), []).append(value.strip())
        self.inside += comments


def sections(text: str) -> list[FileSection]:
    """Return the sections of a file in order; what is in front of the first goes into one of the kind ''."""
    found = [FileSection("", 0)]
    without: list[FileSection] = []
    waiting: list[str] = []  # comments since the last setting: of this section, or of the next
    commented: FileSection | None = None  # the one that these comments are of
    for place, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = raw.strip()
        disabled = line.startswith(DISABLED)
        if disabled:
            line = line.removeprefix(DISABLED).strip()
        if line.startswith("#"):
            if header := _HEADER.match(line):
                commented = FileSection(COMMENTED_OUT, place, disabled=True, before=waiting)
                without.append(commented)
                waiting = [header[1]] if header[1] else []
            elif commented is not None and (setting_ := _SETTING.match(line)):
                commented.add(setting_[1], setting_[2], waiting)
                waiting = []
            else:
                waiting.append(_once_more(line) if commented is not None else line)
            continue
        setting, hash_, comment = line.partition("#")
        setting = setting.strip()
        if setting.startswith("[") and setting.endswith("]"):
            found.append(FileSection(setting[1:-1].strip().lower(), place, disabled, before=waiting))
            waiting = [f"# {comment.strip()}"] if hash_ and comment.strip() else []
        elif "=" in setting:
            name, _, value = setting.partition("=")
            found[-1].add(name, value, waiting)
            waiting = []
        elif setting:
            raise UnreadableError(
                Reason("line {place}: {setting!r} is neither a section nor NAME = VALUE", place=place, setting=setting)
            )
        if setting:
            commented = None
    found[-1].inside += waiting
    return [*found, *(each for each in without if each.settings)]


def _once_more(line: str) -> str:
    """Return a comment of what is commented out as it was before: `# # anna` was `# anna`."""
    inner = line[1:]
    return inner.strip() if inner[:1].isspace() and inner.strip().startswith("#") else line

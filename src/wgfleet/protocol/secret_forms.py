"""Forms of secrets in lines of text, so that a line which should have none shows none all the same.

Keys of peers that are public look like those that are not, so a key is hidden where the line calls it by its name.
Lines are of other machines: no form may look at one twice, and again from each of its characters.
"""

import re

HIDDEN = "(hidden)"
_NAMES = r"(?:private|preshared|pre_shared|master|api|secret)_?key|psk|password|passphrase|token|secret|client_secret"
_FORMS = (
    re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL),
    re.compile(r"\b(wg[dfjlsu]_)[A-Za-z0-9_-]{8,}"),
    re.compile(rf"""(\b(?:{_NAMES})\\?["']?\s*(?:=|["']\s*:)\s*\\?["']?)[^\s"'\\,}}]+""", re.IGNORECASE),
    re.compile(r"(\bauthorization\\?[\"']?\s*[:=]\s*+\\?[\"']?(?:basic|bearer)?\s*+)[^\s\"'\\,}]+", re.IGNORECASE),
    re.compile(r"(\b(?:basic|bearer)\s+)[A-Za-z0-9._~+/-]{16,}=*", re.IGNORECASE),
    re.compile(r"(://[^\s/:@\"']*:)[^\s/@\"']++(?=@)"),
)


def without_secrets(line: str) -> str:
    """Return a line with what looks like a secret hidden."""
    for form in _FORMS:
        line = form.sub(rf"\1{HIDDEN}", line)
    return line

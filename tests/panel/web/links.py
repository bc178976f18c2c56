"""Links and forms of a page, as somebody without scripts has them."""

from html.parser import HTMLParser


class Links(HTMLParser):
    """`pages`: what links and fragments lead to, of ours; `forms`: where forms are sent that change something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pages: list[str] = []
        self.forms: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        found = [given.get("href", "") if tag == "a" else "", given.get("hx-get", "")]
        self.pages += [each for each in found if each.startswith(("/", "?"))]
        if tag == "form":
            into = self.forms if given.get("method") == "post" else self.pages
            into.append(given.get("action", ""))

"""Answers as CSV, for spreadsheets, which take some texts for formulas."""

from collections.abc import Iterable, Sequence

from fastapi import Response

from wgfleet.panel.domain.peer_table import line


def answer(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """Return a file with a row of names and rows of values; no text in it is a formula."""
    text = "".join((line(columns), *map(line, rows)))
    headers = {"content-disposition": f'attachment; filename="{name}.csv"', "cache-control": "no-store"}
    return Response(text, media_type="text/csv", headers=headers)

"""Answers as CSV, for spreadsheets, which take some texts for formulas."""

import csv
import io
from collections.abc import Iterable, Sequence

from fastapi import Response

from wgfleet.panel.domain.peer_table import plain


def answer(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """Return a file with a row of names and rows of values; no text in it is a formula."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(columns)
    for row in rows:
        table.writerow([plain(value) for value in row])
    headers = {"content-disposition": f'attachment; filename="{name}.csv"', "cache-control": "no-store"}
    return Response(text.getvalue(), media_type="text/csv", headers=headers)

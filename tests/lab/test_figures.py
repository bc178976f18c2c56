"""How figures look on a terminal."""

from wgfleet.lab.progress import readable


def test_figures_are_lines_of_eighty_columns() -> None:
    lines = readable(
        {
            "ok": False,
            "served": False,
            "gap_ms": {"p50": 1.5, "max": None},
            "setting": {
                "mobile": "modelled: a rule in each client keeps it sending to the address in its file, as apps do"
            },
            "broken": [],
            "each": [{"node": "node-1"}],
        }
    )
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines[:4]] == [
        ["ok", "NO"],
        ["served", "no"],
        ["gap_ms.p50", "1.5"],
        ["gap_ms.max", "-"],
    ]
    assert lines[4].startswith("setting.mobile modelled: a rule")
    assert lines[5].startswith(" " * len("setting.mobile "))
    assert lines[-2:] == ["        broken none", "          each 1 (listed with --json)"]

"""The way of a newcomer through the pages, in Chromium against a lab of two nodes and two devices.

From the address that the terminal shows: set-up, a second factor, nodes, a config, a peer whose code a stock client
uses, a drain, a node that dies while its page is looked at, six tabs. Prints one JSON object: the median of the seconds
of each step, and the longest.

Usage, as root from the top of the repository: .venv/bin/python -m bench.browser [--rounds 3]
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict

from tests.panel.web.chromium import launched
from tests.panel.web.newcomer import OF_THE_LAB, Newcomer
from wgfleet.lab import state


def seconds() -> dict[str, float]:
    """Go the way once."""
    with state.temporary("newcomer", 2, 2, panel_node=True) as lab, launched(*OF_THE_LAB) as browser:
        newcomer = Newcomer(lab, browser)
        newcomer.whole_way()
    return newcomer.seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(parser.parse_args().rounds):
        for step, taken in seconds().items():
            found[step].append(taken)
    shown = {step: {"median": round(statistics.median(each), 2), "max": max(each)} for step, each in found.items()}
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""The store, the only place that speaks SQL: tables, engine, repositories (one module a subject), migrations.

Repositories are functions that take an open `Tx` first. They decide nothing.
"""

from wgfleet.panel.store.databases import CONNECTIONS
from wgfleet.panel.store.engine import REPORT_BYTES, Store, Tx

__all__ = ["CONNECTIONS", "REPORT_BYTES", "Store", "Tx"]

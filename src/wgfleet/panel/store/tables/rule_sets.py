"""The table of sets of destination rules."""

from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from wgfleet.panel.store.tables.base import Base


class RuleSetRow(Base):
    """A set of destination rules that peers, tags and configs may have. `rules`: in order, as the protocol has them."""

    __tablename__ = "rule_sets"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    rules: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    otherwise_allowed: Mapped[bool]
    created_at: Mapped[float]

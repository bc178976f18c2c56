"""Columns of the settings that nodes hold peers to, of which peers, tags and configs have some."""

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column


class HeldSettingsColumns:
    """What nodes hold a peer, or those of a tag or a config, to; None: what `domain.held_settings` finds beyond it.

    `rule_set`: the id of a set of destination rules, "": none. It is no foreign key, for the reason in `Peer`.
    """

    download_speed: Mapped[int | None] = mapped_column(BigInteger)
    upload_speed: Mapped[int | None] = mapped_column(BigInteger)
    rule_set: Mapped[str | None]

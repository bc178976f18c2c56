"""The panel that the commands are tried on: that of the panel's own tests."""

from tests.panel.conftest import anonymous, client, fra1, panel, wg0

__all__ = ["anonymous", "client", "fra1", "panel", "wg0"]

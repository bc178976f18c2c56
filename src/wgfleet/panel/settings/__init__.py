"""Settings of a panel: the model (a module a group), how it is read, and the sample that documents it.

Values come from the defaults, a TOML file, the environment (`WGFLEET_GROUP__KEY`) and the command line, the later
winning over the earlier. Secrets other than the database's password are not settings.
"""

from wgfleet.panel.settings.listeners import Listener, SocketAddress
from wgfleet.panel.settings.loading import DEFAULT_FILE, SettingsError, SettingsProblem, load_settings
from wgfleet.panel.settings.model import Settings
from wgfleet.panel.settings.sample import sample

__all__ = [
    "DEFAULT_FILE",
    "Listener",
    "Settings",
    "SettingsError",
    "SettingsProblem",
    "SocketAddress",
    "load_settings",
    "sample",
]

"""The web interface: pages made on the server, of the same services as the API.

A subject has a module in `pages/` and a folder in `templates/`. `install` puts the pages beside the API of a panel.
"""

from wgfleet.panel.web.site import install

__all__ = ["install"]

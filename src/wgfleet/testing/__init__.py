"""Contract suites for plugins: pytest classes that the writer of a DNS or address provider runs against it.

Needs `wgfleet[panel,testing]`. Nothing of the product imports it.
"""

import pytest

# Before anybody imports them, or a failure would not show the values that were compared.
pytest.register_assert_rewrite(
    "wgfleet.testing.address_provider", "wgfleet.testing.dns_provider", "wgfleet.testing.failures"
)

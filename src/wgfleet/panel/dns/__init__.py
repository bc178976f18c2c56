"""Names that always list the addresses that serve: what is to be at a name, and its way to the provider."""

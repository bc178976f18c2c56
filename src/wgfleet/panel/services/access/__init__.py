"""Access to the API: keys and their scopes."""

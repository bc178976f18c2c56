"""Values that panel and agent share: ids, keys, addresses, desired and observed state, diff, messages.

Pure: no IO, no clock, no randomness. Wire form is JSON through msgspec. Everything from outside is
parsed here once (`parse_*`); an invalid value raises `FieldError` with the name of the field.
"""

"""Pure decisions of the panel: no IO, no clock, no randomness."""

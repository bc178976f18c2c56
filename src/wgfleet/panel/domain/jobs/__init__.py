"""Limits of peers, which are called jobs: what they say, over which time they count, and what follows. Pure."""

"""Reconcilers, which make the world equal to the rows, again and again: desired → observe → diff → apply.

Everything here starts from a fresh read; a wake only says where to look. Asynchronous; the store is reached through
`engine.threads` alone.
"""

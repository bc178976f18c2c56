"""Floating addresses: who holds them, attempts at providers, and their settings."""

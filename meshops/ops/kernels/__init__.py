"""Faster twins of the operations; each is imported when it first runs."""

"""Broken rows for the audit to find (shelf.py), in books that are sound (world.py)."""

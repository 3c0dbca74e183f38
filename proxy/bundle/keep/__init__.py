"""Keeping warm: what is run again and again, what it pins, and what it tells of changes."""

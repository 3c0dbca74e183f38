"""Bytes in motion: from upstream servers to here."""

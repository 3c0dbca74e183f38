"""Indexes, and indexes made of indexes."""

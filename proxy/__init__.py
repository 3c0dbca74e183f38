"""Waystation: a caching package index gateway."""

__version__ = "0.1.0"

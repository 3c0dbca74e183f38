"""The Simple API on the wire (PEP 503, 691 and what came since): pure functions, no I/O."""

"""Air-gapped use: what a build needs is read, fetched, proved complete and carried over."""

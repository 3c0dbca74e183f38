"""The documentation is true: its commands run as written, and what it names exists."""

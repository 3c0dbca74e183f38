"""Tests of identities and rights."""

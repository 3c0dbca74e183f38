"""Bundles: one archive of what a cache holds, made here, checked and taken into another there."""

"""A static tree: a whole simple repository as plain files, for any web server to serve."""

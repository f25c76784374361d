"""Builds everything that a release consists of: `make release`."""

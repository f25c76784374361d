"""Benchmarks: the operator and its peers in one run, compared as ratios."""

"""Measured beside peers in one run, told as ratios."""

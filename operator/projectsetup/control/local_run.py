"""Runs an attempt as processes of this machine: the setup module in the local engine."""

from __future__ import annotations

"""Observability of the operator: logs, metrics, health."""

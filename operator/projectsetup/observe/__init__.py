"""What can be seen of the operator: logs, metrics, health."""

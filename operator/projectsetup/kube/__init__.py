"""The API server: one client, its errors translated once, the Lease, the queue's ConfigMap, the watch."""

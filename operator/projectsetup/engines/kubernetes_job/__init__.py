"""The Job engine: an attempt is a Kubernetes Job, which goes on whatever happens to the operator."""

"""The Job engine: each attempt is a Kubernetes Job, which continues whatever happens to the operator."""

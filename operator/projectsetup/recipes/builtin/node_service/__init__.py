"""What maintainers need for the template of `node-service`."""

"""Attempts as processes beside the operator, under a supervisor that ends them when the operator dies."""

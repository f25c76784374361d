"""What `python-service` needs besides the generator: installing with uv, and the name of the distribution."""

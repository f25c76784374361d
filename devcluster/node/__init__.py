"""A real node for the control plane: its programs, its network, and its use of the host."""

"""A real node beside the control plane: what it takes of this machine, its programs and its network."""

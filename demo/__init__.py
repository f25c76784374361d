"""The demo: one project, set up by a real operator on a real control plane."""

"""Sets up software projects from ProjectSetup resources."""

"""One project set up before your eyes, on real parts."""

"""What to do next with a ProjectSetup, and doing it: pure decisions, the queue, the reconciler."""

"""Decides what each ProjectSetup needs next and does it: pure decisions, the work queue, the reconciler."""

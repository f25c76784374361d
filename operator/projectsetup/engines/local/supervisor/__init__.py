"""The process beside the operator that runs the steps of local attempts, and kills them when the operator dies.

It is small and imports only the standard library. It is a separate process so that a SIGKILL, a freeze or a busy
event loop in the operator cannot keep processes of steps alive.
"""

"""The process beside the operator that starts the steps of local attempts and outlives the operator to end them.

It is small and needs the standard library alone. It is kept apart from the operator so that a SIGKILL, a freeze or a
busy event loop there cannot keep processes of steps alive here.
"""

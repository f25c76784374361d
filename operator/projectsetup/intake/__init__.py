"""Setups and cancels that applications request in SQL: each committed request becomes one change of a ProjectSetup."""

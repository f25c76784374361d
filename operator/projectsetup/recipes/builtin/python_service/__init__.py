"""The commands that the steps of the recipe `python-service` run in their workspace.

A workspace holds `code/`, which becomes the code repository, and `docs/`, which becomes the documentation repository.
"""

"""Generates the files of a project from a template and commits them: what all built-in recipes share.

The files are `code/`, which becomes the code repository, and `docs/`, which becomes the documentation repository.
"""

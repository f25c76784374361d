"""The commands of the recipe `python-service`.

They work on `code/`, which becomes the code repository, and `docs/`, which becomes the documentation repository.
"""

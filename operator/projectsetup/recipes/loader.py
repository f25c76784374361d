"""The recipes that can be named: those of the package and those of the administrators' directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from projectsetup.recipes.errors import InvalidRecipe, UnknownRecipe
from projectsetup.recipes.files import RecipeFile, RecipeFolder
from projectsetup.recipes.reading import load_recipe, read_recipe

if TYPE_CHECKING:
    from projectsetup.recipes.model import Recipe

__all__ = ["RecipeBook", "load_recipe", "read_recipe"]

BUILTIN = Path(__file__).parent / "builtin"


class RecipeBook:
    """Looks recipes up by name, always as the files are now.

    A recipe of the directory takes the place of a built-in one of the same name. A file that cannot be used stands in
    the way of nothing but the recipe it was to be.
    """

    def __init__(self, directory: Path | None = None) -> None:
        """`directory`: where administrators keep their recipes, one a file, `*.yaml` or `*.yml`."""
        self._own = RecipeFolder(directory) if directory else None
        self._builtin = RecipeFolder(BUILTIN)

    def get(self, name: str) -> Recipe:
        """The recipe of that name. Raises UnknownRecipe, or InvalidRecipe when its file cannot be used."""
        files = self._files()
        if name not in files:
            raise UnknownRecipe(f"there is no recipe {name[:63]!r}; there are: {', '.join(sorted(files))}")
        usable = [file for file in files[name] if file.recipe]
        if len(usable) > 1:
            places = ", ".join(str(file.path) for file in usable)
            raise InvalidRecipe(f"recipe {name} stands in several files: {places}")
        recipe = usable[0].recipe if usable else None
        if recipe is None:
            raise InvalidRecipe(f"recipe {name} cannot be used: {files[name][0].problem}")
        return recipe

    def names(self) -> tuple[str, ...]:
        """The names of all recipes, in order; those of files that cannot be used are among them."""
        return tuple(sorted(self._files()))

    def _files(self) -> dict[str, list[RecipeFile]]:
        found: dict[str, list[RecipeFile]] = {}
        for file in self._own.files() if self._own else ():
            found.setdefault(file.name, []).append(file)
        for file in self._builtin.files():
            found.setdefault(file.name, [file])
        return found

"""The recipes that setups can name: the built-in ones and those in the administrators' directory."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from projectsetup.recipes.errors import InvalidRecipe, RecipesUnavailable, UnknownRecipe
from projectsetup.recipes.reading import load_recipe, parse_yaml, read_recipe, read_text

if TYPE_CHECKING:
    from os import stat_result

    from projectsetup.recipes.model import Recipe

__all__ = ["RecipeBook", "load_recipe", "read_recipe"]

BUILTIN = Path(__file__).parent / "builtin"


class RecipeBook:
    """Finds recipes by name; changed files are reloaded.

    A recipe in the directory replaces the built-in one of the same name. An invalid file affects only the recipe that
    it defines.
    """

    def __init__(self, directory: Path | None = None) -> None:
        """`directory`: the administrators' recipes, `*.yaml` or `*.yml`, one in each file."""
        self._own = RecipeFolder(directory) if directory else None
        self._builtin = RecipeFolder(BUILTIN)

    def get(self, name: str) -> Recipe:
        """The recipe of that name. Raises UnknownRecipe, or InvalidRecipe if its file is invalid."""
        files = self._files()
        if name not in files:
            raise UnknownRecipe(f"there is no recipe {name[:63]!r}; available: {', '.join(sorted(files))}")
        usable = [file for file in files[name] if file.recipe]
        if len(usable) > 1:
            places = ", ".join(str(file.path) for file in usable)
            raise InvalidRecipe(f"recipe {name} is defined in several files: {places}")
        recipe = usable[0].recipe if usable else None
        if recipe is None:
            raise InvalidRecipe(f"recipe {name} is invalid: {files[name][0].problem}")
        return recipe

    def names(self) -> tuple[str, ...]:
        """The sorted names of all recipes, including invalid ones."""
        return tuple(sorted(self._files()))

    def _files(self) -> dict[str, list[RecipeFile]]:
        found: dict[str, list[RecipeFile]] = {}
        for file in self._own.files() if self._own else ():
            found.setdefault(file.name, []).append(file)
        for file in self._builtin.files():
            found.setdefault(file.name, [file])
        return found


_SUFFIXES = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A file with its `recipe`, or with its `problem` in one line.

    `name` is the name of the recipe; for an invalid file the name that it states, or else its file name without suffix.
    """

    path: Path
    name: str
    recipe: Recipe | None
    problem: str | None


class RecipeFolder:
    """The `*.yaml` and `*.yml` files of one directory, without hidden ones (such as those of a mounted ConfigMap)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[Path, tuple[tuple[int, int, int], RecipeFile]] = {}

    def files(self) -> tuple[RecipeFile, ...]:
        """All recipe files, sorted. Raises RecipesUnavailable if the directory cannot be read."""
        try:
            paths = sorted(path for path in self._directory.iterdir() if _is_recipe_name(path))
        except OSError as exc:
            raise RecipesUnavailable(f"{self._directory}: cannot be read: {exc.strerror}") from exc
        self._known = {path: self._file(path, state) for path in paths if (state := _regular_file(path))}
        return tuple(file for _, file in self._known.values())

    def _file(self, path: Path, state: stat_result) -> tuple[tuple[int, int, int], RecipeFile]:
        version = (state.st_ino, state.st_mtime_ns, state.st_size)
        known = self._known.get(path)
        return known if known and known[0] == version else (version, _read(path))


def _is_recipe_name(path: Path) -> bool:
    return path.suffix in _SUFFIXES and not path.name.startswith(".")


def _regular_file(path: Path) -> stat_result | None:
    try:
        state = path.stat()
    except OSError:  # a broken link, or a file that was just removed
        return None
    return state if stat.S_ISREG(state.st_mode) else None


def _read(path: Path) -> RecipeFile:
    name = path.stem
    try:
        text = read_text(path)
        name = _stated_name(parse_yaml(text, str(path))) or name
        recipe = load_recipe(text, str(path))
    except InvalidRecipe as exc:
        return RecipeFile(path, name, None, str(exc))
    return RecipeFile(path, recipe.name, recipe, None)


def _stated_name(data: object) -> str | None:
    name = data.get("name") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None

"""Recipe files on disk, read again only when they have changed."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from projectsetup.recipes.errors import InvalidRecipe, RecipesUnavailable
from projectsetup.recipes.reading import load_recipe, parse_yaml, read_text

if TYPE_CHECKING:
    from os import stat_result
    from pathlib import Path

    from projectsetup.recipes.model import Recipe

_SUFFIXES = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A file and what became of it: `recipe`, or None and the `problem`, one line.

    `name` is the recipe's; without a recipe the name it states, or else the file's own without its ending.
    """

    path: Path
    name: str
    recipe: Recipe | None
    problem: str | None


class RecipeFolder:
    """The `*.yaml` and `*.yml` files of one directory, without hidden ones (so also those of a ConfigMap's mount)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[Path, tuple[tuple[int, int, int], RecipeFile]] = {}

    def files(self) -> tuple[RecipeFile, ...]:
        """All recipe files as they are now, by name. Raises RecipesUnavailable when the directory cannot be read."""
        try:
            paths = sorted(path for path in self._directory.iterdir() if _is_recipe_name(path))
        except OSError as exc:
            raise RecipesUnavailable(f"{self._directory}: cannot be read: {exc.strerror}") from exc
        self._known = {path: self._look(path, state) for path in paths if (state := _regular_file(path))}
        return tuple(file for _, file in self._known.values())

    def _look(self, path: Path, state: stat_result) -> tuple[tuple[int, int, int], RecipeFile]:
        version = (state.st_ino, state.st_mtime_ns, state.st_size)
        known = self._known.get(path)
        return known if known and known[0] == version else (version, _read(path))


def _is_recipe_name(path: Path) -> bool:
    return path.suffix in _SUFFIXES and not path.name.startswith(".")


def _regular_file(path: Path) -> stat_result | None:
    try:
        state = path.stat()
    except OSError:  # a link that leads nowhere, or a file that has just gone
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

"""Parses recipes from YAML; every error is one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from projectsetup.recipes.errors import InvalidRecipe
from projectsetup.recipes.model import Recipe

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from pydantic_core import ErrorDetails

LARGEST_RECIPE = 1024 * 1024
"""Size limit of a recipe file, in bytes."""

_EXPLANATIONS = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "extra_forbidden": "is not a key of a recipe; see docs/recipes.md",
    "int_type": "must be a whole number",
    "missing": "is missing",
    "model_type": "must be a mapping",
    "string_type": "must be text; put it in quotes",
    "too_short": "must have at least one entry",
    "tuple_type": "must be a list",
}


_YAML_EXPLANATIONS = {
    "but found another document": "begins a second document; a file holds one recipe",
    "found unhashable key": "uses a list or mapping as a key",
}


class _Loader(yaml.SafeLoader):
    """The safe loader, but repeated keys are errors; PyYAML would silently use the last one."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[Hashable] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is repeated", problem_mark=key.start_mark)
                seen.add(key.value)
        return node


def load_recipe(text: str, source: str) -> Recipe:
    """The recipe in `text`; `source` names it in messages. Raises InvalidRecipe."""
    data = parse_yaml(text, source)
    if not isinstance(data, dict):
        raise InvalidRecipe(f"{source}: must be a mapping with the keys name, image and steps")
    try:
        return Recipe.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as exc:
        raise InvalidRecipe(f"{source}: {_describe(exc)}") from exc


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file of UTF-8 text, at most 1 MiB. Raises InvalidRecipe."""
    return load_recipe(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a recipe file. Raises InvalidRecipe if it cannot be read or is too large."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_RECIPE + 1)
    except OSError as exc:
        raise InvalidRecipe(f"{path}: cannot be read: {exc.strerror}") from exc
    if len(content) > LARGEST_RECIPE:
        raise InvalidRecipe(f"{path}: is larger than 1 MiB")
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise InvalidRecipe(f"{path}: is not UTF-8 text (byte {exc.start})") from exc


def parse_yaml(text: str, source: str) -> object:
    """The one document in `text`. Raises InvalidRecipe with line and column."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  # derived from the safe loader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "unknown place"
        problem = exc.problem or exc.context or "not valid YAML"
        raise InvalidRecipe(f"{source}: {place}: {_one_line(_YAML_EXPLANATIONS.get(problem, problem))}") from exc
    except yaml.reader.ReaderError as exc:
        place = f"line {text.count(chr(10), 0, exc.position) + 1}"
        raise InvalidRecipe(f"{source}: {place}: contains a character that YAML does not allow") from exc
    except RecursionError as exc:
        raise InvalidRecipe(f"{source}: is nested too deeply") from exc
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as exc:  # PyYAML's constructors of dates and numbers
        raise InvalidRecipe(f"{source}: contains an invalid date or number; put it in quotes") from exc


def script_lines(text: str) -> dict[str, int]:
    """The line on which the script of each step begins, by the name of the step, in the text of a valid recipe."""
    found: dict[str, int] = {}
    document = _values(yaml.compose(text, Loader=_Loader))
    steps = document.get("steps")
    for step in steps.value if isinstance(steps, yaml.SequenceNode) else ():
        values = _values(step)
        name, run = values.get("name"), values.get("run")
        if isinstance(name, yaml.ScalarNode) and isinstance(run, yaml.ScalarNode):
            is_block = run.style in {"|", ">"}
            found[name.value] = run.start_mark.line + (2 if is_block else 1)
    return found


def _values(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}


def _describe(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)
    if len(problems) > 1:  # pydantic leaves out invalid steps, and then finds too few
        problems = [problem for problem in problems if problem["type"] != "too_short"] or problems
    first = f"{_place(problems[0])}{_explain(problems[0])}"
    more = len(problems) - 1
    return f"{first} (and {more} more {'problem' if more == 1 else 'problems'})" if more else first


def _place(problem: ErrorDetails) -> str:
    place = ""
    for part in problem["loc"]:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part != "[key]":
            place += f".{part}" if place else _one_line(part)
    return f"{_one_line(place)}: " if place else ""


def _explain(problem: ErrorDetails) -> str:
    known = _EXPLANATIONS.get(problem["type"])
    message = known or problem["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)
    return _one_line(message)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]

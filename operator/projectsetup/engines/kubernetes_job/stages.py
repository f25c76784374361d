"""Which steps of a recipe share a container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projectsetup.recipes.model import Recipe, Step


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that run in one container, one after another; it has the name of the first of them."""

    image: str
    credentials: bool
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """Unique in the recipe, and a DNS label."""
        return self.steps[0].name


def stages_of(recipe: Recipe) -> tuple[Stage, ...]:
    """Consecutive steps with the same image and the same `credentials` share a stage; an isolated one stands alone."""
    groups: list[list[Step]] = []
    for step in recipe.steps:
        if groups and _share(recipe, groups[-1][-1], step):
            groups[-1].append(step)
        else:
            groups.append([step])
    return tuple(Stage(recipe.image_of(steps[0]), steps[0].credentials, tuple(steps)) for steps in groups)


def _share(recipe: Recipe, previous: Step, step: Step) -> bool:
    return (
        not (previous.isolate or step.isolate)
        and previous.credentials == step.credentials
        and recipe.image_of(previous) == recipe.image_of(step)
    )

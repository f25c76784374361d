"""What the help pages have besides the words of the commands: order, examples, and the name that was called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import typer

EXAMPLES: Final[Mapping[str, Sequence[str]]] = {
    "": (
        'projects create --name "Order Service" --code-repo https://git.example/team/orders.git',
        "setup $id --wait",
        "status --watch",
    ),
    "setup": ("setup $id --wait", "setup $id --recipe python-service --param license=MIT --priority 0"),
    "status": ("status --watch", "status $id", "status --all-namespaces -o json"),
    "dashboard": ("dashboard --open", "dashboard --all-namespaces --allow-actions"),
    "retry": ("retry $id", "retry $id -n team-a --context production"),
    "cancel": ("cancel $id",),
    "queue show": ("queue show", "queue show -o name"),
    "queue scale": ("queue scale 8",),
    "projects create": ('projects create --name "Order Service" --code-repo https://git.example/team/orders.git',),
    "projects list": ("projects list", "projects list -o name"),
    "recipes lint": ("recipes lint recipes/web-service.yaml",),
    "crd": ("crd | kubectl apply -f -",),
}


def arrange(command: Any, name: str, panels: Sequence[str], *, of_kubectl: bool) -> None:
    """Put the commands in the order of their panels, and give each one its examples, which begin with `name`.

    kubectl has a completion of its own, so its plugin does not install one.
    """
    command.commands = dict(sorted(command.commands.items(), key=lambda item: panels.index(item[1].rich_help_panel)))
    if of_kubectl:
        command.params = [option for option in command.params if not option.name.endswith("_completion")]
    _finish(command, name, "", typer.Context(command, info_name=name, **command.context_settings))


def _finish(command: Any, name: str, path: str, context: typer.Context) -> None:
    for option in command.get_params(context):
        if getattr(option, "is_flag", False):
            option.metavar = ""  # it takes no value, so none is shown
    if examples := EXAMPLES.get(path):
        command.epilog = "\n".join(("Examples:", *(f"  {name} {example}" for example in examples)))
    for word, inner in getattr(command, "commands", {}).items():
        _finish(inner, name, f"{path} {word}".strip(), typer.Context(inner, info_name=word, parent=context))

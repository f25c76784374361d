"""Text that Kubernetes takes as it is."""

from __future__ import annotations


def literal(text: str) -> str:
    """`text` as it has to stand in `command`, `args` and `env`, where the kubelet replaces `$(NAME)` and `$$`."""
    return text.replace("$", "$$")

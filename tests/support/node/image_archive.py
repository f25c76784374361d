"""Images made of other images: under another name, with a few files more, as `FROM` and `COPY` would have it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def derive(
    source: Path,
    target: Path,
    name: str,
    *,
    files: Mapping[str, bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Write the docker-archive `target`: the image of `source` as `name`, with these files and variables besides."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        (manifest,) = json.loads(_read(old, "manifest.json"))
        configuration = json.loads(_read(old, manifest["Config"]))
        layers = list(manifest["Layers"])
        for layer in layers:
            new.addfile(old.getmember(layer), old.extractfile(layer))
        if files:
            layers.append(_add_layer(new, files, configuration))
        configuration["config"]["Env"] += [f"{key}={value}" for key, value in (environment or {}).items()]
        described = json.dumps(configuration).encode()
        file = f"{hashlib.sha256(described).hexdigest()}.json"
        _add(new, file, described)
        _add(new, "manifest.json", json.dumps([{"Config": file, "RepoTags": [name], "Layers": layers}]).encode())


def _add_layer(archive: tarfile.TarFile, files: Mapping[str, bytes], configuration: dict[str, Any]) -> str:
    """The name that the layer has in the archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as layer:
        for path, data in files.items():
            _add(layer, path.lstrip("/"), data)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    configuration["rootfs"]["diff_ids"].append(f"sha256:{digest}")
    configuration["history"].append({"created_by": f"COPY {' '.join(files)} /"})
    _add(archive, f"{digest}.tar", content.getvalue())
    return f"{digest}.tar"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, io.BytesIO(content))


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None, name
    return file.read()

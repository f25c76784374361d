"""The bill of materials of a small image, layer over layer."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from images.sbom import write_sbom

DPKG = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2:2.41-12+b1
Description: one line
 and another

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""
PLACE = "opt/app/lib/python3.13/site-packages"


def tar(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def test_what_upper_layers_remove_is_not_in_it(tmp_path: Path) -> None:
    def metadata(name: str) -> bytes:
        return f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\nLicense-Expression: MIT\n\nName: nobody\n".encode()

    below = {
        "var/lib/dpkg/status": b"Package: old\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n",
        f"{PLACE}/Typing_Extensions-1.0.dist-info/METADATA": metadata("Typing_Extensions"),
        f"{PLACE}/pip-1.0.dist-info/METADATA": metadata("pip"),
        "opt/wheels/left_out-2.0-py3-none-any.whl": b"",
        "etc/passwd": b"root",
    }
    above = {
        f"{PLACE}/.wh.pip-1.0.dist-info": b"",
        "opt/wheels/.wh..wh..opq": b"",
        "opt/wheels/some_thing-3.0-py3-none-any.whl": b"",
        "var/lib/dpkg/status": DPKG.encode(),
        "usr/local/bin/uv": b"x",
    }
    config = json.dumps({"created": "2026-01-02T03:04:05.678Z"}).encode()
    manifest = json.dumps([{"Config": "abc.json", "Layers": ["1.tar", "2.tar"]}]).encode()
    archive = tmp_path / "image.tar"
    layers = {"1.tar": tar(below), "2.tar": tar(above)}
    archive.write_bytes(tar({"manifest.json": manifest, "abc.json": config, **layers}))
    write_sbom("sample:1", archive, "urllib3==2 \\\nuv==0.9.1 \\\n    --hash=x\n", tmp_path / "image.spdx.json")
    document = json.loads((tmp_path / "image.spdx.json").read_text())
    image, *packages = document["packages"]
    assert (image["name"], image["versionInfo"]) == ("sample:1", "abc")
    assert {entry["externalRefs"][0]["referenceLocator"]: entry["licenseDeclared"] for entry in packages} == {
        "pkg:deb/debian/libc6@2%3A2.41-12%2Bb1?arch=amd64": "NOASSERTION",
        "pkg:pypi/some-thing@3.0": "NOASSERTION",
        "pkg:pypi/typing-extensions@1.0": "MIT",
        "pkg:pypi/uv@0.9.1": "NOASSERTION",
    }
    assert document["creationInfo"]["created"] == "2026-01-02T03:04:05Z"

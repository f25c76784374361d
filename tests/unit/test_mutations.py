"""The mutations stay true: each still applies to the code that it breaks."""

from __future__ import annotations

import pytest

from tests.mutations.catalogue import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.promise)
def test_every_mutation_applies(mutation: Mutation) -> None:
    assert mutation.problem() is None
    compile(mutation.broken(), mutation.file, "exec")


def test_no_promise_is_listed_twice() -> None:
    promises = [mutation.promise for mutation in MUTATIONS]
    assert len(promises) == len(set(promises))

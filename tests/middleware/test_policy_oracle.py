"""The expression language against an independent implementation of the same semantics."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("cel_expr_python", reason="install it with: pip install cel-expr-python")

from tests.middleware.cel_oracle import ERROR, Generator, Oracle

CHUNKS, CHUNK = 20, 5_000


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_hundred_thousand_expressions_say_what_cel_says(chunk: int) -> None:
    """Each over two sets of arguments, most of which are of the wrong types; the seeds are fixed."""
    generator, oracle, seen = Generator(chunk), Oracle(), Counter[object]()
    for number in range(CHUNK):
        pair = generator.condition(depth=number % 4)
        sets = (number % 2, 2 + number % 4)
        ours = oracle.ours(pair, *sets)
        assert ours == oracle.cel(pair, *sets), f"{pair.ours}\n{pair.cel}\n{sets}"
        seen.update(ours)
    # All three answers are among them, so that agreement means something.
    assert min(seen[True], seen[False], seen[ERROR]) > CHUNK / 5

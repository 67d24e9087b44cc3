"""Prompt-lookup decoding: drafts the next tokens from an earlier occurrence of the last tokens; the model verifies.

The draft takes up to `draft_max` tokens after the latest earlier match of the last 3 tokens, else of the last 2 (Saxena
2023, "Prompt Lookup Decoding"; the same idea as LLMA, arXiv 2304.04487). The draft is decoded in one batch with the
token before it, and accepted up to the first token that the sampler chooses differently. So the answer is the same as
without drafting.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MATCH = (3, 2)
"""Lengths of the match, longest first."""


def draft(keys: NDArray[np.int64], max_tokens: int) -> list[int]:
    """Guesses up to `max_tokens` tokens that may follow `keys` (prompt and answer so far); none without a match."""
    if max_tokens < 1:
        return []
    for n in MATCH:
        if len(keys) <= n:
            continue
        end = keys[-n:]
        starts = np.flatnonzero(keys[: len(keys) - n] == end[0])
        for offset in range(1, n):
            starts = starts[keys[starts + offset] == end[offset]]
        if len(starts):
            after = keys[int(starts[-1]) + n :][:max_tokens]
            soft = np.flatnonzero(after < 0)
            return [int(key) for key in (after[: soft[0]] if len(soft) else after)]
    return []

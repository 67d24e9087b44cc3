"""Which passages name which: so that the second hop of an answer is found, which the question does not mention.

"Which university did the founder of X attend?": one sentence says who founded X, and another, in the founder's own
document, where they studied. The second is found because the first, which bears on the question, names the title (or
the innermost heading) of the document that the second stands in. After the hyperlinks of Learning to Retrieve Reasoning
Paths over Wikipedia Graph (Asai et al. 2020, arXiv 1911.10470); ours differs: a name that is written out is the link,
and nothing is trained but its weight. Fidelity: inspired.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compressors.selection import Units
from pipeline.text.words import content_words
from pipeline.types import Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
_ASIDE = re.compile(r"\([^)]*\)")


@dataclass(frozen=True)
class Links:
    """For each unit its passage, and for each passage the units of others that name it; empty: nothing is named."""

    owners: tuple[int, ...] = ()
    naming: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, units: Units) -> Links:
        names = [_names(passage) for passage in units.passages]
        texts = [f" {_plain(part.text)} " for part in units.parts]
        with_word: defaultdict[str, set[int]] = defaultdict(set)
        for n, text in enumerate(texts):
            for word in text.split():
                with_word[word].add(n)
        naming = []
        for name_s in names:
            found: set[int] = set()
            for name in name_s:
                rarest = min((with_word[word] for word in name.split()), key=len)
                found |= {n for n in rarest if f" {name} " in texts[n] and name not in names[units.owners[n]]}
            naming.append(tuple(sorted(found)))
        return cls(units.owners, tuple(naming))

    def strengths(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """How good the best unit is that names a unit's passage, and the best unit of a passage that a unit names.

        float64 (n_units, 2), in [0, 1]: the odds of that unit over those of the best of all; 0: there is none.
        """
        import numpy as np

        found = np.zeros((len(logits), 2))
        if not any(self.naming):
            return found
        odds = np.exp(logits - logits.max())
        owners = np.array(self.owners)
        best = np.zeros(len(self.naming))
        np.maximum.at(best, owners, odds)
        for passage, units in enumerate(self.naming):
            if units:
                found[owners == passage, 0] = odds[list(units)].max()
                found[list(units), 1] = np.maximum(found[list(units), 1], best[passage])
        return found


def _names(passage: Passage) -> frozenset[str]:
    """What a text may call the passage: its title and its innermost heading, without what stands in brackets."""
    given: Sequence[str] = (passage.title, *passage.place.heading[-1:])
    return frozenset(plain for name in given if content_words(plain := _plain(_ASIDE.sub(" ", name))))


def _plain(text: str) -> str:
    """The words alone, in lower case."""
    return " ".join(_WORD.findall(text.casefold()))

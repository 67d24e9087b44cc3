"""Links between passages that name each other, to find an answer's second hop, which the question does not mention.

"Which university did the founder of X attend?" One sentence says who founded X. Another one, in the founder's own
document, says where they studied. A link leads to it: the first sentence names the title (or the innermost heading) of
the second one's document. After the hyperlinks of Learning to Retrieve Reasoning Paths over Wikipedia Graph (Asai et
al. 2020, arXiv 1911.10470). Ours differs: the link is a name in the text, and only its weight is trained. Fidelity:
inspired.
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
    """For each unit the index of its passage, and for each passage the units of other passages that name it."""

    owners: tuple[int, ...] = ()
    naming: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, units: Units) -> Links:
        """Finds the links between the passages of these units."""
        names = [_names(passage) for passage in units.passages]
        texts = [f" {_plain(part.text)} " for part in units.parts]
        with_word: defaultdict[str, set[int]] = defaultdict(set)
        for n, text in enumerate(texts):
            for word in text.split():
                with_word[word].add(n)
        naming = []
        for passage_names in names:
            naming_units: set[int] = set()
            for name in passage_names:
                # Search only the units with the name's rarest word.
                rarest = min((with_word[word] for word in name.split()), key=len)
                naming_units |= {n for n in rarest if f" {name} " in texts[n] and name not in names[units.owners[n]]}
            naming.append(tuple(sorted(naming_units)))
        return cls(units.owners, tuple(naming))

    def strengths(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Link strengths, float64 (n_units, 2), in [0, 1].

        The first column is for the best unit that names this unit's passage, the second for the best unit in a passage
        that this unit names. Each is the odds of that unit relative to the best of all units; 0 without a link.
        """
        import numpy as np

        strengths = np.zeros((len(logits), 2))
        if not any(self.naming):
            return strengths
        odds = np.exp(logits - logits.max())
        owners = np.array(self.owners)
        best = np.zeros(len(self.naming))
        np.maximum.at(best, owners, odds)
        for passage, units in enumerate(self.naming):
            if units:
                strengths[owners == passage, 0] = odds[list(units)].max()
                strengths[list(units), 1] = np.maximum(strengths[list(units), 1], best[passage])
        return strengths


def _names(passage: Passage) -> frozenset[str]:
    """The names of a passage: its title and its innermost heading, without text in brackets."""
    given: Sequence[str] = (passage.title, *passage.place.heading[-1:])
    return frozenset(plain for name in given if content_words(plain := _plain(_ASIDE.sub(" ", name))))


def _plain(text: str) -> str:
    """The words of a text, in lower case, separated by spaces."""
    return " ".join(_WORD.findall(text.casefold()))

"""memory.hierarchical: the last turns, a running summary, and recall of everything older, each within a budget.

Inspired by HMT: Hierarchical Memory Transformer (He et al. 2024, arXiv 2405.06067). HMT has a sensory memory (tokens of
the last segment), a short-term memory (an embedding of it) and a long-term memory (the embeddings of earlier segments).
It recalls by cross-attention with a summary of the segment's first half, j = L/2. Ours differs: tiers hold text instead
of hidden states, so a stock model can read them and nothing is trained. Recall fuses the sentence embedder with BM25,
and the ledger logs the softmax over the recalled turns as their weights. The store is append-only and unlimited, where
HMT forgets the oldest of N = 300. The query is the first half of a long incoming text, and the whole of a short one.
Fidelity: inspired.

settings.py    the component and its settings
tiers.py       the open memory: moves text between the tiers, reads documents
search.py      ranks turns for a query by words and vectors (words.py, vectors.py)
recall.py      chooses what a prompt shows, within the budgets
digest.py      makes facts and summaries of a segment (facts.py, summaries.py)
forgetting.py  takes turns out of every tier
export.py      writes and reads the lines of an export
units.py       the tables on disk
"""

from memory.hierarchical.settings import Hierarchical as Hierarchical

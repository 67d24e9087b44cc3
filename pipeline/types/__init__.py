"""The values that pass through a pipeline: documents, passages, prompts, answers, and the ledger.

This module imports nothing heavy, so importing a type loads no model. Documents and places are defined in
pipeline/document.py. Offsets are always in characters of a document's text (Python `str` indices), end excluded. Tokens
are always the reader's, unless a name says otherwise.
"""

from __future__ import annotations

from pipeline.document import Document as Document
from pipeline.document import Heading as Heading
from pipeline.document import Place as Place
from pipeline.types.answers import Answer as Answer
from pipeline.types.answers import Citation as Citation
from pipeline.types.answers import CiteBy as CiteBy
from pipeline.types.answers import CitedBy as CitedBy
from pipeline.types.answers import Lead as Lead
from pipeline.types.answers import State as State
from pipeline.types.ledger import Dropped as Dropped
from pipeline.types.ledger import Ledger as Ledger
from pipeline.types.ledger import Ranked as Ranked
from pipeline.types.ledger import StageEntry as StageEntry
from pipeline.types.passages import Copy as Copy
from pipeline.types.passages import Passage as Passage
from pipeline.types.passages import Question as Question
from pipeline.types.passages import ScoredSentence as ScoredSentence
from pipeline.types.passages import Span as Span
from pipeline.types.prompts import Cached as Cached
from pipeline.types.prompts import Excerpt as Excerpt
from pipeline.types.prompts import Message as Message
from pipeline.types.prompts import Part as Part
from pipeline.types.prompts import Piece as Piece
from pipeline.types.prompts import Prompt as Prompt
from pipeline.types.prompts import PromptSpan as PromptSpan
from pipeline.types.prompts import Soft as Soft
from pipeline.types.prompts import Text as Text
from pipeline.types.sampling import SAMPLING_RANGES as SAMPLING_RANGES
from pipeline.types.sampling import Finish as Finish
from pipeline.types.sampling import Generation as Generation
from pipeline.types.sampling import LogitBias as LogitBias
from pipeline.types.sampling import Sampling as Sampling
from pipeline.types.turns import Item as Item
from pipeline.types.turns import Recall as Recall
from pipeline.types.turns import Recalled as Recalled
from pipeline.types.turns import Tier as Tier
from pipeline.types.turns import Turn as Turn

"""Fits the classifier of compress.exit_mini on rows marked train, and writes it with the figures it was measured by.

    python -m training.exit_mini.train --out compressors/trained/exit-mini.json [--data ../shared/data] [--seed 0]

A fifth of the questions of each set is held back: how sure scores are, and all figures, come from it. Prints them.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from compressors.calibration.labelled import Labelled, read_labelled
from compressors.calibration.listwise import Questions
from compressors.calibration.ranking import auc, costs_of, recall_at
from compressors.classifier import Classifier, with_links
from compressors.features import FEATURES, features, standardised
from compressors.links import Links
from compressors.sentences import similarities
from compressors.votes import nearest_tokens
from pipeline.contracts import Embedder
from pipeline.errors import LongthreadError
from pipeline.models.files import write_json
from pipeline.retrieval.embedder import open_embedder

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILES = {
    "wikiqa": ("wikiqa/WikiQASent-train.txt", "wikiqa/WikiQASent-dev.txt"),
    "selqa": ("selqa/selqa-ass-test.json",),
    "hotpotqa": ("hotpotqa/hipporag_train100.json", "hotpotqa/amor_train100.json"),
    "2wiki": ("2wikimultihopqa/migres_train500.json",),
    "musique": ("musique/hipporag_train100.json",),
}
EVAL_FROM = {"2wiki": 400}
"""The rows from this one on are marked eval."""
TEMPERATURES = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2)
MOST = 200
"""Questions of one set, drawn at random where there are more."""
HELD_BACK = 0.2
KEEP_RATIO = 0.3
PENALTY = 1e-3
"""Of a weight's square."""


@dataclass(frozen=True)
class Example:
    """One question as it is learned from: its features (n_units, 2) at each of TEMPERATURES, standardised, which units
    support, what each costs, and how good compress.sentences finds them.
    """

    features: tuple[NDArray[np.float64], ...]
    supports: NDArray[np.bool_]
    costs: tuple[int, ...]
    links: Links
    likeness: NDArray[np.float64]


Sets = Mapping[str, Sequence[Example]]
Scores = dict[str, list[Any]]
"""Of each set and question a score for each unit, float64 (n_units,)."""


def questions_of(folder: Path, seed: int) -> dict[str, list[Labelled]]:
    """The questions that may be learned from, by set, in a drawn order; those that teach nothing are left out."""
    found = {}
    for name, paths in FILES.items():
        everything = [one for path in paths for one in read_labelled(folder / path)][: EVAL_FROM.get(name)]
        telling = [one for one in everything if one.is_telling]
        found[name] = random.Random(seed).sample(telling, min(MOST, len(telling)))  # noqa: S311 - no secret
    return found


def example(one: Labelled, embedder: Embedder) -> Example:
    nearest = nearest_tokens(one.question, one.units, embedder)
    columns = tuple(standardised(features(one.question, one.units, nearest, at)) for at in TEMPERATURES)
    likeness = standardised(similarities(one.question, one.units.parts, embedder)).sum(axis=1)
    return Example(columns, np.array(one.supports), tuple(costs_of(one.units)), Links.of(one.units), likeness)


def parted(sets: Sets) -> tuple[dict[str, Sequence[Example]], dict[str, Sequence[Example]]]:
    """What is learned from, and what is held back."""
    cut = {name: round(len(found) * HELD_BACK) for name, found in sets.items()}
    return {n: found[cut[n] :] for n, found in sets.items()}, {n: found[: cut[n]] for n, found in sets.items()}


def weights_for(sets: Sets, columns: Mapping[str, Sequence[NDArray[np.float64]]]) -> tuple[NDArray[np.float64], float]:
    """The weights by which supporting units stand out from the others of their question, and the loss with them."""
    weights, loss = asked(sets).weights_for(np.vstack([one for name in sets for one in columns[name]]), PENALTY)
    return weights.round(4), loss


def sureness(sets: Sets, scores: Scores) -> tuple[float, float]:
    """Slope and shift that make scores probabilities."""
    return asked(sets).sureness(np.concatenate([one for name in sets for one in scores[name]]))


def log_loss(sets: Sets, scores: Scores, slope_and_shift: tuple[float, float]) -> float:
    return asked(sets).log_loss(np.concatenate([one for name in sets for one in scores[name]]), slope_and_shift)


def asked(sets: Sets) -> Questions:
    """Each set weighs the same, in it each question."""
    return Questions.of([[one.supports for one in found] for found in sets.values()])


def scored(weights: NDArray[np.float64], columns: Mapping[str, Sequence[NDArray[np.float64]]]) -> Scores:
    return {name: [matrix @ weights for matrix in found] for name, found in columns.items()}


def features_at(sets: Sets, n: int) -> dict[str, list[NDArray[np.float64]]]:
    """The features of each question at the nth of TEMPERATURES."""
    return {name: [one.features[n] for one in found] for name, found in sets.items()}


def links_of(sets: Sets, scores: Scores) -> dict[str, list[NDArray[np.float64]]]:
    return {n: [with_links(z, one.links) for one, z in zip(sets[n], scores[n], strict=True)] for n in sets}


def fit(sets: Sets, embedder: Embedder, command: str, seed: int) -> Classifier:
    """Fits temperature and weights, and on what was held back how sure scores are."""
    train, held = parted(sets)
    tried = [weights_for(train, features_at(train, n)) for n in range(len(TEMPERATURES))]
    best = min(range(len(TEMPERATURES)), key=lambda n: tried[n][1])
    alone = tried[best][0]
    linked, _ = weights_for(train, links_of(train, scored(alone, features_at(train, best))))
    plain = scored(alone, features_at(held, best))
    raised = scored(linked, links_of(held, plain))
    alone_sure, linked_sure = sureness(held, plain), sureness(held, raised)
    return Classifier(
        embedder=embedder.fingerprint,
        embedder_name=embedder.name,
        features=FEATURES,
        temperature=TEMPERATURES[best],
        alone=tuple(alone.tolist()),
        linked=(float(linked[0]), float(linked[1]), float(linked[2])),
        alone_sure=alone_sure,
        linked_sure=linked_sure,
        data=tuple(f"{' and '.join(FILES.get(name, [name]))}: {len(found)} questions" for name, found in sets.items()),
        n_questions=sum(len(found) for found in train.values()),
        n_sentences=sum(len(one.supports) for found in train.values() for one in found),
        seed=seed,
        date=datetime.now(UTC).date().isoformat(),
        command=command,
        metrics={name: metrics(held[name], plain[name], raised[name]) for name in held}
        | {
            "all": {
                "log_loss": round(log_loss(held, plain, alone_sure), 4),
                "log_loss_linked": round(log_loss(held, raised, linked_sure), 4),
            }
        },
        notes=(
            f"metrics: means over the fifth of each set that was held back; recall at {KEEP_RATIO} of the characters",
            "likeness: what compress.sentences keeps by: cosine and late interaction, each standardised, summed",
        ),
    )


def metrics(
    held: Sequence[Example], plain: Sequence[NDArray[np.float64]], linked: Sequence[NDArray[np.float64]]
) -> dict[str, float]:
    """AUC and recall, of the classifier, with links, and of what compress.sentences keeps by."""
    found: dict[str, float] = {"n": len(held)}
    ways = {"": plain, "_linked": linked, "_likeness": [one.likeness for one in held]}
    for way, scores in ways.items():
        pairs = list(zip(held, scores, strict=True))
        found[f"auc{way}"] = round(float(np.mean([auc(z, one.supports.tolist()) for one, z in pairs])), 4)
        recalls = [recall_at(z, one.supports.tolist(), one.costs, KEEP_RATIO) for one, z in pairs]
        found[f"recall{way}"] = round(float(np.mean(recalls)), 4)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "compressors" / "trained" / "exit-mini.json")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        embedder = open_embedder("minilm")
        sets: dict[str, list[Example]] = {}
        for name, questions in questions_of(options.data, options.seed).items():
            sets[name] = []
            for n, one in enumerate(questions, 1):
                sets[name].append(example(one, embedder))
                if n % 50 == 0 or n == len(questions):
                    print(f"{name}: {n} of {len(questions)} questions read", file=sys.stderr, flush=True)
        command = shlex.join(["python", "-m", "training.exit_mini.train", *sys.argv[1:]])
        found = fit(sets, embedder, command, options.seed)
        write_json(options.out, asdict(found))
    except LongthreadError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()

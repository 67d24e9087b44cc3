"""Fits the classifier of compress.exit_mini on rows marked train, and writes it with its figures.

    python -m training.exit_mini.train --out compressors/trained/exit-mini.json [--data ../shared/data] [--seed 0]

A fifth of the questions of each set is held out. It gives the scaling to probabilities and all figures. Prints them.
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
from pipeline.retrieval.embedder import open_embedder
from pipeline.storage.files import write_json

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
"""The first row marked eval."""
TEMPERATURES = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2)
MAX_QUESTIONS = 200
"""Most questions per set. A larger set is sampled at random."""
HELD_BACK = 0.2
KEEP_RATIO = 0.3
PENALTY = 1e-3
"""L2 penalty of the weights."""


@dataclass(frozen=True)
class Example:
    """The training data of one question.

    Its standardised features, (n_units, 2), at each of TEMPERATURES; the labels, costs and links of its units; and
    their scores by compress.sentences (`likeness`).
    """

    features: tuple[NDArray[np.float64], ...]
    supports: NDArray[np.bool_]
    costs: tuple[int, ...]
    links: Links
    likeness: NDArray[np.float64]


Sets = Mapping[str, Sequence[Example]]
Scores = dict[str, list[Any]]
"""For each set and question the scores of the units, float64 (n_units,)."""


def questions_of(folder: Path, seed: int) -> dict[str, list[Labelled]]:
    """The training questions by set, in random order. Skips questions that are not useful for fitting."""
    sets = {}
    for name, paths in FILES.items():
        everything = [question for path in paths for question in read_labelled(folder / path)][: EVAL_FROM.get(name)]
        useful = [question for question in everything if question.is_telling]
        sets[name] = random.Random(seed).sample(useful, min(MAX_QUESTIONS, len(useful)))  # noqa: S311 - no secret
    return sets


def example(question: Labelled, embedder: Embedder) -> Example:
    nearest = nearest_tokens(question.question, question.units, embedder)
    columns = tuple(
        standardised(features(question.question, question.units, nearest, temperature)) for temperature in TEMPERATURES
    )
    likeness = standardised(similarities(question.question, question.units.parts, embedder)).sum(axis=1)
    return Example(
        columns, np.array(question.supports), tuple(costs_of(question.units)), Links.of(question.units), likeness
    )


def parted(sets: Sets) -> tuple[dict[str, Sequence[Example]], dict[str, Sequence[Example]]]:
    """Splits each set into a training part and a held-out part."""
    cut = {name: round(len(examples) * HELD_BACK) for name, examples in sets.items()}
    return {n: examples[cut[n] :] for n, examples in sets.items()}, {
        n: examples[: cut[n]] for n, examples in sets.items()
    }


def weights_for(sets: Sets, columns: Mapping[str, Sequence[NDArray[np.float64]]]) -> tuple[NDArray[np.float64], float]:
    """The weights that rank supporting units above the others of their question, and their loss."""
    weights, loss = questions_in(sets).weights_for(
        np.vstack([matrix for name in sets for matrix in columns[name]]), PENALTY
    )
    return weights.round(4), loss


def sureness(sets: Sets, scores: Scores) -> tuple[float, float]:
    """The slope and shift that turn scores into probabilities."""
    return questions_in(sets).sureness(np.concatenate([values for name in sets for values in scores[name]]))


def log_loss(sets: Sets, scores: Scores, slope_and_shift: tuple[float, float]) -> float:
    return questions_in(sets).log_loss(
        np.concatenate([values for name in sets for values in scores[name]]), slope_and_shift
    )


def questions_in(sets: Sets) -> Questions:
    """All questions. All sets have the same weight, and all questions within a set."""
    return Questions.of([[item.supports for item in examples] for examples in sets.values()])


def scored(weights: NDArray[np.float64], columns: Mapping[str, Sequence[NDArray[np.float64]]]) -> Scores:
    return {name: [matrix @ weights for matrix in matrices] for name, matrices in columns.items()}


def features_at(sets: Sets, n: int) -> dict[str, list[NDArray[np.float64]]]:
    """The features of each question at TEMPERATURES[n]."""
    return {name: [item.features[n] for item in examples] for name, examples in sets.items()}


def links_of(sets: Sets, scores: Scores) -> dict[str, list[NDArray[np.float64]]]:
    return {n: [with_links(z, item.links) for item, z in zip(sets[n], scores[n], strict=True)] for n in sets}


def fit(sets: Sets, embedder: Embedder, command: str, seed: int) -> Classifier:
    """Fits the temperature and weights on the training part, and the scaling to probabilities on the held-out part."""
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
        data=tuple(
            f"{' and '.join(FILES.get(name, [name]))}: {len(examples)} questions" for name, examples in sets.items()
        ),
        n_questions=sum(len(examples) for examples in train.values()),
        n_sentences=sum(len(item.supports) for examples in train.values() for item in examples),
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
    """AUC and recall of the classifier, of the classifier with links, and of the scores of compress.sentences."""
    result: dict[str, float] = {"n": len(held)}
    ways = {"": plain, "_linked": linked, "_likeness": [item.likeness for item in held]}
    for way, scores in ways.items():
        pairs = list(zip(held, scores, strict=True))
        result[f"auc{way}"] = round(float(np.mean([auc(z, item.supports.tolist()) for item, z in pairs])), 4)
        recalls = [recall_at(z, item.supports.tolist(), item.costs, KEEP_RATIO) for item, z in pairs]
        result[f"recall{way}"] = round(float(np.mean(recalls)), 4)
    return result


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
            for n, question in enumerate(questions, 1):
                sets[name].append(example(question, embedder))
                if n % 50 == 0 or n == len(questions):
                    print(f"{name}: {n} of {len(questions)} questions read", file=sys.stderr, flush=True)
        command = shlex.join(["python", "-m", "training.exit_mini.train", *sys.argv[1:]])
        classifier = fit(sets, embedder, command, options.seed)
        write_json(options.out, asdict(classifier))
    except LongthreadError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(json.dumps(asdict(classifier)))


if __name__ == "__main__":
    main()

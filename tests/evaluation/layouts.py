"""A tiny file of every layout: the same two questions about the same documents, as far as a layout can say it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TOWER = "It is high. Blane keeps it. Many come."
BLANE = "Blane was born in Skelby. He sings."
BORN, HIGH = "Where was the keeper born?", "What is it?"

SQUAD: dict[str, Any] = {
    "data": [
        {
            "title": "The_Tower",
            "paragraphs": [
                {
                    "context": TOWER,
                    "qas": [
                        {"id": "who", "question": "Who keeps it?", "answers": [{"text": "Blane", "answer_start": 12}]},
                        {
                            "id": "what",
                            "question": HIGH,
                            "answers": [
                                {"text": "high", "answer_start": 6},
                                {"text": "It is high", "answer_start": 0},
                                {"text": "high", "answer_start": 6},
                            ],
                        },
                    ],
                }
            ],
        }
    ]
}
SQUAD2: dict[str, Any] = {
    "data": [
        {
            "title": "Tower",
            "paragraphs": [
                {
                    "context": TOWER,
                    "qas": [
                        {
                            "id": "who",
                            "question": "Who keeps it?",
                            "answers": [{"text": "Blane", "answer_start": 12}],
                            "is_impossible": False,
                        },
                        {"id": "why", "question": "Why?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ]
}
HOTPOT: dict[str, Any] = {
    "_id": "h1",
    "question": BORN,
    "answer": "Skelby",
    "context": [
        ["Tower", ["It is high.", " Blane keeps it.", " Many come."]],
        ["Blane", ["Blane was born in Skelby.", "He sings."]],
    ],
    "supporting_facts": [["Tower", 1], ["Blane", 0]],
}
HOTPOT_HUB: dict[str, Any] = {
    **HOTPOT,
    "context": {"title": ["Tower", "Blane"], "sentences": [part[1] for part in HOTPOT["context"]]},
    "supporting_facts": {"title": ["Tower", "Blane"], "sent_id": [1, 0]},
}
HOTPOT_AMOR: dict[str, Any] = {
    **HOTPOT,
    "supporting_facts": [["Tower", [1], ["Blane keeps it."]], ["Blane", [0], []]],
}
MUSIQUE: dict[str, Any] = {
    "id": "2hop__1",
    "question": BORN,
    "answer": "Skelby",
    "answer_aliases": ["the town of Skelby"],
    "answerable": True,
    "paragraphs": [
        {"idx": 0, "title": "Tower", "paragraph_text": TOWER, "is_supporting": True},
        {"idx": 1, "title": "Blane", "paragraph_text": BLANE, "is_supporting": True},
        {"idx": 2, "title": "Other", "paragraph_text": "A goat.", "is_supporting": False},
    ],
}
OWN: list[dict[str, Any]] = [
    {
        "question": BORN,
        "answers": ["Skelby"],
        "id": "born",
        "documents": [{"text": TOWER, "title": "Tower"}, {"text": BLANE, "title": "Blane"}],
        "supports": [{"document": 0, "text": "Blane keeps it."}, {"document": 1, "start": 0, "end": 25}],
    },
    {"question": "Who sings?", "answer": "Blane", "documents": [{"text": BLANE, "title": "Blane"}]},
]


def write(path: Path, value: Any, as_lines: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(map(json.dumps, value)) + "\n" if as_lines else json.dumps(value)
    path.write_text(text, "utf-8")
    return path


def beir(folder: Path) -> Path:
    corpus = [
        {"_id": "d1", "title": "Tower", "text": TOWER},
        {"_id": "d2", "title": "Blane", "text": BLANE},
        {"_id": "d3", "title": "", "text": "A goat."},
        {"_id": "d4", "title": "Nothing", "text": ""},
    ]
    write(folder / "corpus.jsonl", corpus, as_lines=True)
    queries = [{"_id": "q1", "text": "Blane Skelby"}, {"_id": "q2", "text": "goat"}, {"_id": "q3", "text": "unjudged"}]
    write(folder / "queries.jsonl", queries, as_lines=True)
    (folder / "qrels").mkdir()
    rows = "query-id\tcorpus-id\tscore\nq1\td2\t2\nq1\td1\t1\nq1\td3\t0\nq2\td3\t1\nq3\td1\t0\n"
    (folder / "qrels" / "test.tsv").write_text(rows)
    return folder


def cranfield(folder: Path) -> Path:
    """Judgements that number by order, Cleverdon's codes, and the stray -1."""
    folder.mkdir()
    (folder / "cran.all.1400").write_text(
        ".I 1\n.T\nthe tower\n.A\nsmith\n.B\nj. 1\n.W\nthe tower\nis high .\n.I 2\n.T\nof blane\n.W\nblane sings .\n"
        ".I 3\n.T\n.A\n.B\n.W\n"
    )
    (folder / "cran.qry").write_text(".I 001\n.W\nwhat is\nhigh .\n.I 004\n.W\nwho sings .\n.I 365\n.W\nwhy .\n")
    (folder / "cranqrel").write_text("1 1 1 \n1 2 4\n2 2 2\n2 1 -1\n3 1 -1\n")
    (folder / "cranqrel.readme").write_text("no judgements\n")
    return folder


def cisi(folder: Path) -> Path:
    """Judgements of four columns; a question without any."""
    folder.mkdir()
    (folder / "CISI.ALL").write_text(
        ".I 1\n.T\nTower\n.A\nSmith\n.W\nIt is high.\n.X\n1\t5\t1\n.I 2\n.T\nOn Blane\n.W\nBlane sings.\n"
    )
    (folder / "CISI.QRY").write_text(".I 1\n.W\nWhat is high?\n.I 2\n.W\nWho sings?\n")
    (folder / "CISI.REL").write_text("     2      2\t0\t0.000000\n")
    return folder

"""docs/library.md as a script: python docs/library.py [DOCUMENTS] [OUTPUT]."""

import sys
from pathlib import Path

import longthread as lt
from pipeline.config import load_config
from pipeline.docs_index import docs_folder
from pipeline.langchain.retriever import LongthreadRetriever
from pipeline.langchain.runnable import LongthreadPipeline
from pipeline.langchain.stages import with_retriever
from pipeline.pipeline import Pipeline

garden = sys.argv[1] if len(sys.argv) > 1 else "configs/demo/documents"
output = Path(sys.argv[2] if len(sys.argv) > 2 else "library-output")

output.mkdir(parents=True, exist_ok=True)

# One question
answer = lt.ask("How many beehives does the garden have?", docs=garden)
print(answer.text)
for citation in answer.citations:
    print(citation.quote.source, citation.quote.place, citation.quote.text)

# Your own pipeline
stages = [lt.Hybrid(k=8), lt.ExitMini(keep_ratio=0.3), lt.Cited(), lt.Llama("smollm2-135m", max_tokens=64)]
with lt.Pipeline(stages, docs=garden) as p:
    print(p.ask("How many beehives does the garden have?"))
    stream = p.stream("Who may enter the corner of the beehives?")
    for piece in stream:
        print(piece, end="", flush=True)
    print(stream.answer.citations[0].quote.text)
    p.to_yaml(output / "mine.yaml")

    # Many questions
    asked = ["When does the ferry leave?", {"id": "clock", "question": "Who repaired the clock?"}]
    for record in p.run(asked, output / "run"):
        print(record["id"], record["status"], record["record"]["answer"])

# Measuring
words = lt.Pipeline([lt.Bm25(k=8), lt.Cited(), lt.Scripted()], name="words", index=lt.IndexSettings("none"))
for run in lt.evaluate([words], Path(garden).parent / "questions.jsonl", output / "measured", docs=garden):
    print(run.name, run.interval("f1"))

# A compressor alone
texts = ["The garden has seven beehives. Figs grow there.", "The ferry leaves at noon."]
print(lt.ExitMini(keep_ratio=None, top_k=1).compress("How many beehives are there?", texts))
for passage in lt.compress(lt.ExitMini(keep_ratio=None, top_k=1), "How many beehives are there?", texts):
    print(passage.source, passage.start, passage.end, passage.text)

# LangChain, both ways
config = load_config("default")
with Pipeline(config, docs_folder([garden], config.index)) as runner:
    print(LongthreadPipeline(pipeline=runner).invoke("Who repaired the clock in the tower in 1987?")["answer"])
    retriever = LongthreadRetriever(retriever=lt.Bm25(k=2), runtime=runner)
    with Pipeline(with_retriever(config, retriever), Path("unused")) as other:
        print(LongthreadPipeline(pipeline=other).invoke("Who repaired the clock in the tower in 1987?")["answer"])

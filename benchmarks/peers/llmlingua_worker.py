"""LLMLingua in a process of its own, with the libraries of .peers: one JSON object a line in, one a line out.

In: {"context": [paragraph, ...], "question": text, "rate": share of tokens to keep, "is_long": bool}.
Out: {"text": what was kept, "seconds": of compress_prompt alone}, or {"error": text}. The first line out says that it
is ready, and how surprising the model finds a plain sentence.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

LONG = {
    "rank_method": "longllmlingua",
    "condition_in_question": "after_condition",
    "reorder_context": "sort",
    "dynamic_context_compression_ratio": 0.3,
    "condition_compare": True,
    "context_budget": "+100",
}
"""The settings that LongLLMLingua's authors name for questions on several documents."""


def compressor(model: Path) -> Any:
    """LLMLingua on the weights of a GGUF file, dequantised to 32 bits."""
    import tiktoken
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(2)
    folder = tempfile.mkdtemp(prefix="llmlingua-")
    tokenizer = AutoTokenizer.from_pretrained(str(model.parent), gguf_file=model.name)
    tokenizer.save_pretrained(folder)
    # it would download OpenAI's tokenizer, with which it only counts what it reports of itself
    tiktoken.encoding_for_model = lambda name: tokenizer
    from llmlingua import PromptCompressor

    weights = AutoModelForCausalLM.from_pretrained(str(model.parent), gguf_file=model.name)
    # the file has no output matrix: it is the embeddings', which this version of transformers does not see, and
    # fills with random numbers
    weights.config.tie_word_embeddings = True
    weights.tie_weights()
    weights.save_pretrained(folder)
    return PromptCompressor(folder, device_map="cpu")


def surprise(peer: Any) -> float:
    """Nats a token of a plain sentence: some 3 for a model whose weights are whole, and 10 for a random one."""
    import torch

    ids = peer.tokenizer(
        "The capital of France is Paris, and the capital of Italy is Rome.", return_tensors="pt"
    ).input_ids
    with torch.inference_mode():
        return float(peer.model(ids, labels=ids).loss)


def main() -> None:
    out = sys.stdout
    sys.stdout = sys.stderr
    peer = compressor(Path(sys.argv[1]))
    print(json.dumps({"ready": True, "surprise": surprise(peer)}), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        start = perf_counter()
        try:
            result = peer.compress_prompt(
                request["context"],
                instruction="",
                question=request["question"],
                rate=request["rate"],
                **(LONG if request["is_long"] else {}),
            )
        except Exception as error:  # it asserts that decoding gives the text back, which some characters break
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=out, flush=True)
            continue
        seconds = perf_counter() - start
        text = result["compressed_prompt"].removesuffix(request["question"])
        print(json.dumps({"text": text, "seconds": seconds}), file=out, flush=True)


if __name__ == "__main__":
    main()

"""Random texts of the kinds that break offsets: many scripts, odd white space, giant words, half-made markup."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = (
    "Dr. Vash paid 3.14 marks. She left! “Why?” he said. ",
    "a line that goes on\nand on until it ends. ",
    "\n\n",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "\u00a0",
    "\u2029",
    "\x0c",
    "\u200b",
    "# Heading. Two\n",
    "Title\n=====\n",
    "- item one. And two.\n",
    "1. first\n2. second\n",
    "| a | b. C |\n",
    "```\ncode. Here\n",
    "def f(x):\n    return x\n",
    "你好。世界很大。我们走吧！",
    "İstanbul'da ığüşöç. ",
    "e\u0301\u0323\u0302",
    "👩‍👩‍👧‍👦😀",
    "مرحبا. كيف؟ ",
    "x" * 70,
    "\u0301" * 40,
    "“",
    '"',
    "(",
    "...",
    "<|im_end|>",
)

TEXTS = st.one_of(
    st.text(max_size=300),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=20)), max_size=40).map("".join),
)


def without_space(text: str) -> str:
    return "".join(text.split())

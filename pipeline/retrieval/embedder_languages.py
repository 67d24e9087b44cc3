"""The language of the texts that an embedder was trained on, by its name; others are not known, or multilingual."""

TRAINED_ON = {"minilm": "english"}

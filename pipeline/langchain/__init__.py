"""longthread's model, retrievers, compressors and embedders as LangChain components.

Importing this switches LangSmith's tracing off for the process: it would send prompts and documents over the network.
"""

import os

os.environ["LANGSMITH_TRACING"] = os.environ["LANGSMITH_TRACING_V2"] = "false"
os.environ["LANGCHAIN_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"

"""Reads and checks pipeline files: reports every fault at once, with its line, before anything is loaded.

index:                          # optional: how documents are chunked and embedded
  embedder: minilm
  chunk_tokens: 200
budget:                         # optional: limits of the prompt
  window: 4096
  on_overflow: shed
stages:                         # in the order in which a question passes them
  - retrieve.hybrid: {k: 8}
  - compress.sentences
  - assemble.cited
  - generate.llama: {model: smollm2-135m}
executor:                       # optional: where a batch runs
  kind: ray
  stages: {generate: {replicas: 2}}
"""

from __future__ import annotations

from pipeline.config.files import FileFault as FileFault
from pipeline.config.files import check_config as check_config
from pipeline.config.files import check_file as check_file
from pipeline.config.files import load_config as load_config
from pipeline.config.files import old_names as old_names
from pipeline.config.order import misordered as misordered
from pipeline.config.paths import missing_paths as missing_paths
from pipeline.config.pipeline_config import PipelineConfig as PipelineConfig
from pipeline.config.settings import SECTIONS as SECTIONS
from pipeline.config.settings import Budget as Budget
from pipeline.config.settings import IndexSettings as IndexSettings

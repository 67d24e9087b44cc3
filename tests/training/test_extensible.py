"""Training an extensible tokenizer: that what is learned from is laid out as it would be read, that a run which was
stopped goes on as if it had not been, and that the reader in torch is the one in llama.cpp.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compressors.soft.weights import load
from pipeline.errors import ConfigError, RunError
from pipeline.gguf.catalogue import resolve
from pipeline.models.engine import open_engine
from pipeline.models.settings import EngineSettings
from pipeline.types import Text
from tests.training.tiny import CORPUS, N_VOCAB, RECIPE, reader, text, tokenize, trainer
from training.extensible import checkpoint
from training.extensible.draw import Draws
from training.extensible.export import export, weights_of
from training.extensible.heldout import HeldOut
from training.extensible.instances import Branch, Instance
from training.extensible.llama import Llama
from training.extensible.losses import divergence, read_branches, total
from training.extensible.recipe import Recipe
from training.extensible.teacher import Teacher, TeacherLogs
from training.extensible.texts import WIKITEXT_TRAIN, Corpus, information, read_corpora, wikitext
from training.extensible.trainer import Trainer, share_of_rate

DATA = Path(__file__).parent.parent.parent.parent / "shared" / "data"
NOTHING = np.empty(0, np.int64)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))


def steps(run: Trainer, n: int) -> list[dict[str, float]]:
    return [run.run_step(lambda: 0.25) for _ in range(n)]


def test_branches_in_one_pass_are_read_as_each_would_be_alone() -> None:
    model = reader()
    branches = (Branch("next", text(6, 5), 1), Branch("copy", text(7, 6), 2, 3), Branch("next", text(5, 7), 2))
    whole = Instance("", text(32).reshape(2, 16), branches, 4, text(3, 8))
    soft = torch.randn(8, 32)
    end = torch.randn(3, 32)
    for n, result in enumerate(read_branches(model, whole, soft, end)):
        branch = branches[n]
        alone = Instance("", whole.context[: branch.after], (branch,), 4, whole.before)
        (expected,) = read_branches(model, alone, soft[: 4 * branch.after], end)
        assert torch.allclose(result.logs, expected.logs, atol=1e-5)
        assert result.logs.shape == (len(branch.tokens) - branch.first, N_VOCAB)


def test_the_vectors_at_the_end_stand_before_each_branch() -> None:
    """As if they were the last ones of its context."""
    model = reader()
    branch = Branch("copy", text(6, 6), 2, 3)
    soft, end = torch.randn(8, 32), torch.randn(4, 32)
    (apart,) = read_branches(model, Instance("", text(32).reshape(2, 16), (branch,), 4, NOTHING), soft, end)
    longer = Instance("", text(48).reshape(3, 16), (replace(branch, after=3),), 4, NOTHING)
    (within,) = read_branches(model, longer, torch.cat([soft, end]))
    assert torch.allclose(apart.logs, within.logs, atol=1e-5)


def test_a_models_own_embeddings_as_vectors_are_its_text() -> None:
    model = reader()
    context, after = text(16), text(8, 1)
    (result,) = read_branches(
        model, Instance("", context.reshape(1, 16), (Branch("next", after, 1),), 1, NOTHING),
        model.embed(torch.from_numpy(context)),
    )  # fmt: skip
    everything = torch.from_numpy(np.concatenate([context, after]))
    states = model.states(model.embed(everything)[None], torch.arange(24))[0]
    assert torch.allclose(result.logs, model.logits(states[16:23]).log_softmax(-1), atol=1e-5)


def test_every_draw_is_what_it_says() -> None:
    draws, random = Draws(CORPUS, RECIPE, tokenize), np.random.default_rng(0)
    drawn = [draws.instance(random) for _ in range(60)]
    assert {instance.k for instance in drawn} == {2, 4}
    assert {len(instance.context) for instance in drawn} == {1, 2}
    assert {instance.source for instance in drawn} == {"books", "questions"}
    everything = [bytes(stream) for stream in CORPUS.streams["books"]]
    for instance in drawn:
        context = instance.context.reshape(-1)
        for branch in instance.branches:
            if branch.kind == "copy":
                assert bytes(branch.tokens[2:]) in bytes(context)
            if branch.kind == "next":
                before = context[: branch.after * RECIPE.chunk]
                assert any(bytes(np.concatenate([before, branch.tokens])) in stream for stream in everything)
            if branch.kind == "answer":
                is_chat = len(instance.before) > 0
                assert list(branch.tokens[branch.first :]) == list(tokenize("Me." if is_chat else " Me."))


def test_a_token_is_rarer_the_less_often_it_stands_in_kinds_that_count() -> None:
    """Half of one kind and a tenth of another are 'a'; 'b' is the rest; 'c' stands nowhere."""
    first, second = np.repeat([0, 1], 5), np.repeat([0, 1], [1, 9])
    rarity = information(Corpus({"one": (first,), "other": (second,)}, ()), {"one": 3.0, "other": 1.0}, 3)
    assert rarity[:2] == pytest.approx(-np.log([0.75 * 0.5 + 0.25 * 0.1, 0.75 * 0.5 + 0.25 * 0.9]), abs=1e-3)
    assert rarity[2] == pytest.approx(np.log(3_000_000), abs=0.01)
    assert np.array_equal(rarity, rarity.astype(np.float16).astype(np.float32))


def test_the_teacher_tells_what_the_reader_says_after_the_raw_context(tmp_path: Path) -> None:
    model = reader()
    stream = text(48)
    branches = (Branch("next", stream[16:24], 1), Branch("copy", stream[3:9], 2, 2), Branch("next", stream[32:40], 2))
    instance = Instance("", stream[:32].reshape(2, 16), branches, 4, NOTHING)
    predictions = Teacher(model, N_VOCAB, tmp_path).predict(instance)
    assert predictions[1] is None
    for prediction, branch in zip(predictions, branches, strict=True):
        if prediction is not None:
            raw = Instance("", instance.context[: branch.after], (branch,), 1, NOTHING)
            (result,) = read_branches(model, raw, model.embed(torch.from_numpy(stream[: 16 * branch.after])))
            assert torch.allclose(prediction.logs, result.logs.gather(1, prediction.tokens), atol=0.02)
            assert float(divergence(result.logs, prediction)) == pytest.approx(0, abs=0.01)


def test_what_was_told_is_kept_and_asked_again_where_it_is_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Teacher(reader(), 8, tmp_path)
    instance = Draws(CORPUS, RECIPE, tokenize).running(np.random.default_rng(0), "books", 2, 1)
    first = teacher.predict(instance)[0]
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:50])
    again = teacher.predict(instance)[0]
    monkeypatch.setattr(teacher, "_ask", lambda *_: pytest.fail("asked again"))
    kept = teacher.predict(instance)[0]
    assert first is not None
    for other in (again, kept):
        assert other is not None
        assert torch.equal(first.tokens, other.tokens)
        assert torch.equal(first.logs, other.logs)


def test_the_divergence_is_that_of_the_whole_distribution_when_all_is_told() -> None:
    logs, truth = torch.randn(2, 5, N_VOCAB).log_softmax(-1)
    values, tokens = truth.topk(N_VOCAB)
    expected = (truth.exp() * (truth - logs)).sum(1).mean()
    assert float(divergence(logs, TeacherLogs(tokens, values))) == pytest.approx(float(expected), abs=1e-4)
    few = divergence(logs, TeacherLogs(tokens[:, :10], values[:, :10]))
    assert 0 < float(few) <= float(expected) + 1e-4


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = trainer()
    expected = steps(whole, 6)
    first = trainer()
    begun = steps(first, 3)
    checkpoint.save(tmp_path / "checkpoint.pt", first)
    second = trainer()
    checkpoint.restore(tmp_path / "checkpoint.pt", second)
    assert (second.step, second.seconds) == (3, first.seconds)
    assert begun + steps(second, 3) == expected
    for (name, left), (_, right) in zip(
        whole.tokenizer.named_parameters(), second.tokenizer.named_parameters(), strict=True
    ):
        assert torch.equal(left, right), name


def test_a_run_may_begin_from_what_another_had_learned(tmp_path: Path) -> None:
    path, first = tmp_path / "checkpoint.pt", trainer()
    steps(first, 3)
    checkpoint.save(path, first)
    second = trainer(replace(RECIPE, tone_first=0.0, learning_rate=1e-4))
    assert checkpoint.begin_from(path, second) == 3
    assert (second.step, second.seconds) == (0, 0.0)
    for (name, left), (_, right) in zip(
        first.tokenizer.named_parameters(), second.tokenizer.named_parameters(), strict=True
    ):
        assert torch.equal(left, right), name
    with pytest.raises(RunError, match="take the same layers and rank"):
        checkpoint.begin_from(path, trainer(replace(RECIPE, rank=2)))
    with pytest.raises(RunError, match="there is no checkpoint at"):
        checkpoint.begin_from(tmp_path / "none.pt", second)


def test_a_checkpoint_of_other_settings_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, trainer())
    with pytest.raises(RunError, match=r"other settings \(copies was 2, is 1\)"):
        checkpoint.restore(path, trainer(replace(RECIPE, copies=1)))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match="cannot be read as a checkpoint"):
        checkpoint.restore(path, trainer())


def test_training_lowers_the_loss_and_leaves_the_reader_alone() -> None:
    recipe = replace(
        RECIPE, ks=(2,), k_shares=(1.0,), chunks=(1,), answers=0.0, weight_contrast=0.0, learning_rate=1e-2
    )
    run = trainer(recipe)
    before = {name: tensor.clone() for name, tensor in run.tokenizer.reader.weights.items()}
    losses = [figures["copy"] for figures in steps(run, 60)]
    assert np.mean(losses[-15:]) < np.mean(losses[:15])
    assert all(torch.equal(before[name], tensor) for name, tensor in run.tokenizer.reader.weights.items())


def test_the_tone_is_trained_first_and_alone() -> None:
    def changed(run: Trainer, progress: float) -> set[str]:
        before = {name: tensor.clone() for name, tensor in run.tokenizer.named_parameters()}
        run.run_step(lambda: progress)
        now = dict(run.tokenizer.named_parameters())
        return {name.split(".")[0] for name, tensor in before.items() if not torch.equal(tensor, now[name])}

    run = trainer(replace(RECIPE, tone_first=0.5))
    assert changed(run, 0.4) == {"token_gain", "offset", "closing"}
    changed(run, 0.5)  # the projection is zero until here, and passes nothing on
    assert {"projection", "lora", "state_gain", "offset"} <= changed(run, 0.6)


def test_what_is_shared_counts_for_every_k_and_what_is_not_for_one() -> None:
    tokenizer = trainer().tokenizer
    tokens = torch.from_numpy(text(32).reshape(2, 16))
    before = {k: tokenizer.soft(tokens, k) for k in (2, 4)}
    with torch.no_grad():
        tokenizer.offset[-1] += 1
        tokenizer.offset[tokenizer.ks.index(4)] += 2
    for k, more in ((2, 1), (4, 3)):
        assert torch.allclose(tokenizer.soft(tokens, k), before[k] + more, atol=1e-5)


def test_without_what_the_states_add_vectors_are_the_same_as_long_as_the_projection_is_zero() -> None:
    tokenizer = trainer().tokenizer
    tokens = torch.from_numpy(text(32).reshape(2, 16))
    assert torch.equal(tokenizer.soft(tokens, 4), tokenizer.soft(tokens, 4, has_states=False))
    with torch.no_grad():
        tokenizer.projection += 0.1
    assert not torch.equal(tokenizer.soft(tokens, 4), tokenizer.soft(tokens, 4, has_states=False))


def test_every_loss_of_the_recipe_is_logged_and_a_recipe_without_one_is_refused() -> None:
    run = trainer(replace(RECIPE, answers=0.5))
    names = {name for figures in steps(run, 8) for name in figures}
    assert {"next", "kl", "copy", "answer", "contrast", "rate", "gradient", "context_tokens"} <= names
    with pytest.raises(ValueError, match="every weight is 0 of: next"):
        total({"next": torch.tensor(1.0)}, replace(RECIPE, weight_next=0.0))


def test_the_rate_grows_and_falls_to_a_tenth() -> None:
    assert share_of_rate(0, 20, 0.0) == pytest.approx(0.05)
    assert share_of_rate(100, 20, 0.5) == pytest.approx(0.55)
    assert share_of_rate(100, 20, 1.0) == share_of_rate(100, 20, 1.2) == pytest.approx(0.1)


def test_settings_of_the_recipe_that_do_not_exist_are_named() -> None:
    assert Recipe().changed(["copies=1", "weight_kl=0"]) == replace(Recipe(), copies=1, weight_kl=0)
    assert Recipe.of_json(json.loads(json.dumps(Recipe().as_json()))) == Recipe()
    for setting, match in (("kz=1", "no 'kz'"), ("ks=x", "must be JSON"), ("ks=[3]", r"each of ks must divide chunk")):
        with pytest.raises(ConfigError, match=match):
            Recipe().changed([setting])


def test_what_is_held_back_is_measured_alike_every_time_with_its_controls() -> None:
    run = trainer()
    held = HeldOut(CORPUS, RECIPE, tokenize, run.tokenizer.reader, 4)
    metrics = held.measure(run.tokenizer)
    assert metrics == held.measure(run.tokenizer)
    gap = metrics["none_following"] - metrics["raw_following"]
    assert metrics["k2_gap"] == pytest.approx((metrics["none_following"] - metrics["k2_following"]) / gap, abs=0.02)
    assert {"wrong_following", "k4_wrong", "k4_content", "k4_copied"} <= set(metrics)


def test_the_weights_are_exported_with_their_card(tmp_path: Path) -> None:
    run = trainer()
    steps(run, 2)
    model = resolve("smollm2-135m")
    export(tmp_path / "extensible-tiny", run, model, "a command", {"k2_content": 0.1})
    loaded = load(tmp_path / "extensible-tiny.json")
    assert (loaded.card.steps, loaded.card.metrics, loaded.card.ks) == (2, {"k2_content": 0.1}, (2, 4))
    tokens = torch.from_numpy(text(16).reshape(1, 16))
    with torch.no_grad():
        expected = torch.cat([run.tokenizer.soft(tokens, 4), run.tokenizer.end(4)]).numpy()
        states = run.tokenizer.states(tokens)[0].numpy()
    table = run.tokenizer.reader.weights["token_embd.weight"].numpy()
    exact = weights_of(run.tokenizer, loaded.card)
    assert exact.vectors(tokens[0].numpy(), table, states, 4) == pytest.approx(expected, abs=1e-5)
    assert loaded.vectors(tokens[0].numpy(), table, states, 4) == pytest.approx(expected, abs=0.02)


def test_a_run_may_begin_from_weights_that_were_exported(tmp_path: Path) -> None:
    first, second = trainer(), trainer(replace(RECIPE, seed=1))
    steps(first, 3)
    export(tmp_path / "extensible-tiny", first, resolve("smollm2-135m"), "a command", {})
    assert checkpoint.begin_from(tmp_path / "extensible-tiny.json", second) == 3
    assert first.tokenizer.projection.abs().max() > 1e-3
    assert torch.allclose(second.tokenizer.projection, first.tokenizer.projection, rtol=0.01, atol=1e-5)
    tokens = torch.from_numpy(text(16).reshape(1, 16))
    for k in (2, 4):
        learned, begun = first.tokenizer.soft(tokens, k), trainer().tokenizer.soft(tokens, k)
        off = (second.tokenizer.soft(tokens, k) - learned).abs().max()  # weights are kept as float16
        assert off < 0.02
        assert 5 * off < (begun - learned).abs().max()
        assert torch.allclose(second.tokenizer.end(k), first.tokenizer.end(k), atol=0.01)
    with pytest.raises(RunError, match="take the same layers and rank"):
        checkpoint.begin_from(tmp_path / "extensible-tiny.json", trainer(replace(RECIPE, rank=2)))


def test_the_reader_in_torch_is_the_one_in_llama_cpp() -> None:
    path = resolve("smollm2-135m")
    sentence = "The keeper of the lighthouse had not spoken to anyone for eleven weeks when Marit came with a letter."
    with open_engine(EngineSettings(n_ctx=256, n_seq_max=1), path) as engine:
        tokens = torch.from_numpy(engine.tokenize(sentence).astype(np.int64))
        expected = engine.logprobs((Text(sentence),), 1)
    model = Llama.load(path, lambda *_: None)
    with torch.no_grad():
        states = model.states(model.embed(tokens)[None], torch.arange(len(tokens)))[0]
        logprobs = model.logits(states[:-1]).log_softmax(-1).gather(1, tokens[1:, None])[:, 0]
    assert abs(float(logprobs.mean()) - float(expected.mean())) < 0.05
    assert np.abs(logprobs.numpy() - expected).mean() < 0.15  # llama.cpp rounds activations to 8 bits beside Q4_1


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data sets are not here")
def test_what_is_reported_on_is_not_trained_on() -> None:
    """Neither the second part of WikiText, nor what is held back, is among the texts of training."""
    first, second = wikitext(DATA / "wikitext2" / "valid.txt")
    assert len(first) == pytest.approx(WIKITEXT_TRAIN * (len(first) + len(second)), rel=0.01)
    characters = lambda text: np.frombuffer(text.encode("utf-32-le"), np.int32)  # noqa: E731
    train, held = read_corpora(DATA, characters)
    for kind in ("books", "talks", "wikitext"):
        assert len(train.streams[kind]) == len(held.streams[kind])
        assert sum(map(len, held.streams[kind])) < 0.09 * sum(map(len, train.streams[kind]))
    assert sum(map(len, train.streams["wikitext"])) + sum(map(len, held.streams["wikitext"])) == len(first)
    assert len(train.questions) > 10 * len(held.questions) > 0
    assert not {question.question for question in train.questions} & {question.question for question in held.questions}

"""The MTEB model: its documented contract always, mteb itself where it is installed.

The contract (mteb 2.8 and later, `EncoderProtocol`): `encode` takes a data loader of batches whose "audio" lists
dictionaries of "array" and "sampling_rate", and gives an array `[n, D]`; `similarity`, `similarity_pairwise` and
`mteb_model_meta` go with it.
"""

from __future__ import annotations

import importlib.metadata
import io
import sys
from functools import cache

import numpy as np
import pytest
import soundfile
import soxr
import torch

from hear_diffres import load_model
from hear_diffres.errors import WeightsError
from hear_diffres.judges.mteb import MtebEncoder, load_encoder, model_meta
from hear_diffres.samples import make
from hear_diffres.weights import save_weights

RATES = (16_000, 32_000, 44_100)
WHERE = {"hf_split": "test", "hf_subset": "default", "show_progress_bar": False}


@cache
def encoder() -> MtebEncoder:
    return MtebEncoder("mn01", batch_seconds=4.0)


def clip(kind: str, seed: int) -> dict:
    rate = RATES[seed % 3]
    samples = soxr.resample(make(kind, seed, 0.4 + 0.2 * (seed % 5)), 32_000, rate)
    return {"array": samples, "sampling_rate": rate}


def encode(batches, **kwargs) -> np.ndarray:
    return encoder().encode(batches, task_metadata=None, **WHERE, **kwargs)


@pytest.fixture
def mteb(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("mteb", reason="mteb is not installed: docs/judges.md", minversion="2.8")


def test_a_row_per_clip_in_order_whatever_the_batches():
    clips = [clip(kind, seed) for seed in range(4) for kind in ("rain", "alarm")]
    rows = encode([{"audio": clips[:5]}, {"audio": clips[5:]}], batch_size=5)
    assert isinstance(rows, np.ndarray) and rows.dtype == np.float32
    assert rows.shape == (8, encoder().model.scene_embedding_size) and np.isfinite(rows).all()
    np.testing.assert_allclose(rows, encode([{"audio": [c], "label": 0} for c in clips]), rtol=1e-3, atol=1e-4)


def test_clips_at_the_models_rate_are_embedded_as_they_are():
    samples = make("bird", 1, 0.7)
    rows = encode([{"audio": [{"array": samples.tolist(), "sampling_rate": 32_000}]}])
    expected = load_model("mn01").get_scene_embeddings(torch.from_numpy(samples)[None])
    np.testing.assert_allclose(rows, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_no_batches_give_no_rows():
    assert encode([]).shape == (0, encoder().model.scene_embedding_size)


@pytest.mark.parametrize("batch", [{"text": ["a dog barks"]}, {"image": [None], "text": ["a"]}])
def test_text_is_refused(batch):
    with pytest.raises(ValueError, match=r"task, default, test: hear_diffres embeds audio only.* text"):
        encode([batch])


def test_a_bad_clip_is_named_by_its_number_in_the_split():
    batches = [{"audio": [clip("rain", 0)] * 3}, {"audio": [clip("rain", 1), {"array": [], "sampling_rate": 16_000}]}]
    with pytest.raises(ValueError, match="default, test, clip 4: the audio is empty"):
        encode(batches)


def test_other_arguments_are_not_swallowed():
    with pytest.raises(ValueError, match="precision"):
        encode([], precision="int8")
    with pytest.raises(TypeError, match="temperature"):
        encode([], temperature=1.0)
    with pytest.raises(ValueError, match="batch_seconds"):
        MtebEncoder("mn01", batch_seconds=0)


def test_similarities_are_cosines():
    first, second = np.random.default_rng(0).standard_normal((2, 5, 8)).astype(np.float32)
    cosines = encoder().similarity(first, torch.from_numpy(second))
    lengths = np.outer(np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1))
    np.testing.assert_allclose(cosines.numpy(), first @ second.T / lengths, atol=1e-6)
    torch.testing.assert_close(encoder().similarity_pairwise(first, second), cosines.diagonal())
    assert encoder().similarity(first[0], second).shape == (1, 5)


def test_without_mteb_only_the_metadata_fail(monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb", None)
    monkeypatch.setitem(sys.modules, "mteb.models.model_meta", None)
    with pytest.raises(ImportError, match=r"hear-diffres\[mteb\]"):
        model_meta("mn01")
    assert encode([{"audio": [clip("rain", 0)]}]).shape[0] == 1


def test_the_loader_notices_other_weights():
    arguments = {"model": "mn01", "reduction": 0.5, "embedding": "e1", "weights": "random"}
    assert load_encoder("hear_diffres/mn01", "random", **arguments).model.config.name == "mn01"
    with pytest.raises(WeightsError, match="now random, the metadata say 0123"):
        load_encoder("hear_diffres/mn01", "0123", **arguments)


def test_mteb_sees_an_encoder(mteb):
    from mteb.models import EncoderProtocol, ModelMeta

    model = MtebEncoder("mn04", reduction=0.75, embedding="e1")
    assert isinstance(model, EncoderProtocol)
    meta = model.mteb_model_meta
    assert isinstance(meta, ModelMeta) and meta.name == "hear_diffres/mn04_e1_r0.75" and meta.modalities == ["audio"]
    assert meta.revision == model.model.weights_sha256[:12] and meta.embed_dim == model.model.scene_embedding_size
    assert meta.n_parameters == sum(p.numel() for p in model.model.parameters())
    assert meta.training_datasets == {"AudioSet", "AudioSetMini"}
    assert all(mteb.get_task(name).metadata.modalities == ["audio"] for name in meta.training_datasets)
    assert ModelMeta(**{name: getattr(meta, name) for name in ModelMeta.model_fields}) == meta
    assert meta.to_dict()["loader"] == "load_encoder"


def test_metadata_know_what_trained_the_weights(mteb, tmp_path, published_file):
    assert model_meta("mn01", weights="random").training_datasets == set()
    assert model_meta("mn01", weights=published_file, reduction=0.0).training_datasets == {"AudioSet", "AudioSetMini"}
    save_weights(tmp_path / "own.safetensors", load_model("mn01").network.state_dict(), {})
    assert model_meta("mn01", weights=tmp_path / "own.safetensors").training_datasets is None


def test_metadata_load_their_model(mteb, tmp_path, monkeypatch):
    """Through mteb, which first asks whether torchaudio is installed, not whether it can be imported."""
    if not list(importlib.metadata.distributions(name="torchaudio")):
        (tmp_path / "torchaudio-2.11.0.dist-info").mkdir()
        (tmp_path / "torchaudio-2.11.0.dist-info" / "METADATA").write_text("Name: torchaudio\nVersion: 2.11.0\n")
        monkeypatch.syspath_prepend(str(tmp_path))
    meta = model_meta("mn01", reduction=0.25, embedding="se+e1", budget="clip")
    model = meta.load_model(device="cpu")
    assert isinstance(model, MtebEncoder) and model.mteb_model_meta.name == "hear_diffres/mn01_se_e1_r0.25_clip"
    assert (model.model.reduction, model.model.budget, str(model.model.embedding)) == (0.25, "clip", "se+e1")


@pytest.fixture
def tasks(mteb):
    """Three of mteb's task types on sounds made here; audio as mteb's own datasets give it once decoded."""
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskClassification, AbsTaskClustering, AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    kinds = ("alarm", "rain", "bird")

    def describe(name: str, kind: str, category: str, score: str) -> TaskMetadata:
        return TaskMetadata(
            name=name, description="Sounds made here.", dataset={"path": "none/none", "revision": "1"}, type=kind,
            category=category, modalities=["audio"], eval_splits=["test"], eval_langs=["zxx-Zxxx"], main_score=score,
            reference=None, date=None, domains=None, task_subtypes=None, license=None, annotations_creators=None,
            dialect=None, sample_creation=None, bibtex_citation=None,
        )  # fmt: skip

    def rows(seeds: range) -> dict:
        pairs = [(clip(kind, seed), label) for label, kind in enumerate(kinds) for seed in seeds]
        audio = [{"array": c["array"].tolist(), "sampling_rate": c["sampling_rate"]} for c, _ in pairs]
        return {"audio": audio, "label": [label for _, label in pairs]}

    class Sounds(AbsTaskClassification):
        metadata = describe("Sounds", "AudioClassification", "a2c", "accuracy")
        input_column_name = "audio"
        n_experiments = 2

        def load_data(self, *args, **kwargs) -> None:
            self.dataset = DatasetDict(
                train=Dataset.from_dict(rows(range(6))), test=Dataset.from_dict(rows(range(20, 24)))
            )
            self.data_loaded = True

    class SoundClusters(AbsTaskClustering):
        metadata = describe("SoundClusters", "AudioClustering", "a2a", "v_measure")
        input_column_name, label_column_name = "audio", "label"
        max_fraction_of_documents_to_embed = None

        def load_data(self, *args, **kwargs) -> None:
            self.dataset = DatasetDict(test=Dataset.from_dict(rows(range(6))))
            self.data_loaded = True

    class SoundRetrieval(AbsTaskRetrieval):
        metadata = describe("SoundRetrieval", "Any2AnyRetrieval", "a2a", "ndcg_at_10")

        def load_data(self, *args, **kwargs) -> None:
            documents, queries = rows(range(6)), rows(range(20, 22))
            corpus = {"id": [f"d{i}" for i in range(len(documents["label"]))], "audio": documents["audio"]}
            asked = {"id": [f"q{i}" for i in range(len(queries["label"]))], "audio": queries["audio"]}
            relevant = {
                f"q{i}": {f"d{j}": int(own == other) for j, other in enumerate(documents["label"])}
                for i, own in enumerate(queries["label"])
            }
            split = {
                "corpus": Dataset.from_dict(corpus), "queries": Dataset.from_dict(asked), "relevant_docs": relevant,
                "top_ranked": None,
            }  # fmt: skip
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return [Sounds(), SoundClusters(), SoundRetrieval()]


def test_mteb_evaluates_it(mteb, tasks, tmp_path):
    model = MtebEncoder("mn04")
    cache = mteb.ResultCache(cache_path=tmp_path)
    results = mteb.evaluate(model, tasks, cache=cache, show_progress_bar=False, encode_kwargs={"batch_size": 5})
    scores = {result.task_name: result.get_score() for result in results.task_results}
    assert scores.keys() == {"Sounds", "SoundClusters", "SoundRetrieval"}
    assert scores["Sounds"] >= 0.9 and scores["SoundRetrieval"] >= 0.8 and scores["SoundClusters"] >= 0.5, scores
    kept = [path for path in tmp_path.rglob("Sounds.json") if "hear_diffres__mn04_block_mels_r0.5" in str(path)]
    assert len(kept) == 1 and model.mteb_model_meta.revision in kept[0].parts


def test_mteb_evaluates_it_on_undecoded_files(mteb, tasks):
    """What `cast_column("audio", Audio(decode=False))` leaves of a data set, for machines without torchcodec."""
    from datasets import Audio

    task = tasks[0]
    task.load_data()
    task.dataset = task.dataset.map(as_file).cast_column("audio", Audio(decode=False))
    assert task.dataset["test"][0]["audio"].keys() == {"bytes", "path"}
    (result,) = mteb.evaluate(encoder(), task, cache=None, show_progress_bar=False).task_results
    assert result.get_score() >= 0.9


def as_file(row: dict) -> dict:
    file = io.BytesIO()
    soundfile.write(file, row["audio"]["array"], row["audio"]["sampling_rate"], format="WAV", subtype="FLOAT")
    return {"audio": {"bytes": file.getvalue(), "path": None}}


def test_mteb_refuses_text_tasks_for_it(mteb):
    from datasets import Dataset
    from mteb._create_dataloaders import create_dataloader

    task = mteb.get_task("Banking77Classification")
    with pytest.raises(ValueError, match=r"hear_diffres/mn01_block_mels_r0\.5"):
        mteb.evaluate(encoder(), task, cache=None)
    loader = create_dataloader(Dataset.from_dict({"text": ["a"]}), task_metadata=task.metadata, input_column="text")
    with pytest.raises(ValueError, match=r"Banking77Classification.*audio only.*text"):
        encoder().encode(loader, task_metadata=task.metadata, **WHERE)

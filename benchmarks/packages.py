"""Published packages beside ours, where they are installed: the architecture each constructs, with random weights.

None of them is a dependency: `pip install transformers torchvggish resampy torchopenl3 julius nnAudio` before
`python -m benchmarks.run --only networks` lets them take part. Left out: `panns_inference`, which fetches labels when
it is imported and weights when it is constructed, and `hear21passt`, which needs timm and with it a torchvision built
for the very PyTorch installed.
"""

from __future__ import annotations

import numpy as np

from .runners import Embedder, Peer


def _ast() -> Embedder:
    import torch
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    features, model = ASTFeatureExtractor(), ASTModel(ASTConfig()).eval()

    @torch.no_grad()
    def scene(audio: np.ndarray) -> object:
        inputs = features(list(audio), sampling_rate=16_000, return_tensors="pt")
        return model(**inputs).pooler_output

    return Embedder(scene, None)


def _wav2vec2() -> Embedder:
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    model = Wav2Vec2Model(Wav2Vec2Config()).eval()

    @torch.no_grad()
    def timestamps(audio: np.ndarray) -> object:
        return model(torch.from_numpy(audio)).last_hidden_state

    return Embedder(lambda audio: timestamps(audio).mean(1), timestamps)  # type: ignore[attr-defined]


def _vggish() -> Embedder:
    import torch
    from torchvggish.torchvggish import VGG, make_layers
    from torchvggish.vggish_input import waveform_to_examples

    model = VGG(make_layers(), postprocess=False).eval()

    @torch.no_grad()
    def scene(audio: np.ndarray) -> object:
        examples = torch.cat([waveform_to_examples(clip.astype(np.float64), 16_000) for clip in audio])
        return model(examples.float()).reshape(len(audio), -1, 128).mean(1)

    return Embedder(scene, None)


def _openl3() -> Embedder:
    from torchopenl3.core import get_audio_embedding
    from torchopenl3.models import PytorchOpenl3

    model = PytorchOpenl3(content_type="music", input_repr="mel256", embedding_size=512).eval()

    def scene(audio: np.ndarray) -> object:
        return get_audio_embedding(audio, 48_000, model=model, hop_size=0.5, sampler="julian")[0].mean(1)

    return Embedder(scene, None)  # one every 50 ms takes it minutes


PACKAGES: tuple[Peer, ...] = (
    Peer("transformers: AST", _ast, ("transformers",), 16_000, real=True),
    Peer("transformers: wav2vec 2.0 base", _wav2vec2, ("transformers",), 16_000, real=True),
    Peer("torchvggish", _vggish, ("torchvggish", "resampy"), 16_000, real=True),
    Peer("torchopenl3", _openl3, ("torchopenl3", "julius", "nnAudio"), 48_000, real=True),
)

"""What exported files are compared with, and on which sounds."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import torch

from hear_diffres import load_model
from hear_diffres.samples import make

# PyTorch itself, not the engine that answers for it.
torch_model = partial(load_model, runtime="torch")

SOUND = np.concatenate([make(kind, 1, 6.5) for kind in ("music", "speech", "rain", "door")]).astype(np.float32)
# As in recordings, noise: in bands that hold nothing but what leaks from loud ones, log-mel is the rounding noise of
# whichever FFT was used, PyTorch's or ours.
SOUND += 1e-3 * np.random.default_rng(0).standard_normal(len(SOUND)).astype(np.float32)


def randomised(model, seed=1):
    """Normalisation statistics and an estimator that are not trivial, as training leaves them."""
    torch.manual_seed(seed)
    for name, value in model.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.startswith("network.compressor") and name.endswith("score.weight"):
            value.normal_(0, 2)
    return model


def with_head(hear: bytes, **changes):
    """A `.hear` file whose head says something else; without its checksum, as in older files."""
    size = int.from_bytes(hear[8:16], "little")
    said = {**head_of(hear), **changes}
    said["strings"].pop("checksum", None)
    head = json.dumps(said).encode()
    return hear[:8] + len(head).to_bytes(8, "little") + head + hear[16 + size :]


def head_of(hear: bytes):
    """What a `.hear` file says of itself."""
    return json.loads(hear[16 : 16 + int.from_bytes(hear[8:16], "little")])


def close(ours, model, audio, tolerance=1e-4):
    """Scene and timestamp embeddings of `ours`, numpy in and out, are the model's."""
    theirs = torch.from_numpy(audio)
    np.testing.assert_allclose(
        ours.get_scene_embeddings(audio), model.get_scene_embeddings(theirs).numpy(), rtol=0, atol=tolerance
    )
    stamps, times = ours.get_timestamp_embeddings(audio)
    wanted, milliseconds = model.get_timestamp_embeddings(theirs)
    np.testing.assert_array_equal(times, milliseconds.numpy())
    np.testing.assert_allclose(stamps, wanted.numpy(), rtol=0, atol=tolerance)

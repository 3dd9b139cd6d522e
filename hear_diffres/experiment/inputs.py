"""Pictures for training: made once where the front end stays as it is, with every batch where it is trained."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

from ..errors import ConfigError
from ..frontend import FrontEnd
from .data import Clips

_KEPT: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()
_BATCH = 32


def is_trained(frontend: FrontEnd) -> bool:
    """Any of its parameters takes part in training."""
    return any(parameter.requires_grad for parameter in frontend.parameters())


class Inputs:
    """Clips as pictures `[B, bands, T]`.

    Args:
        clips: the audio.
        frontend: of the network that is trained; its device is where batches are made.
        key: what the pictures of a fixed front end depend on, to share them with the cells that follow; None: not.

    Raises:
        ConfigError: the front end wants another sample rate than the clips have.
    """

    def __init__(self, clips: Clips, frontend: FrontEnd, key: str | None = None):
        if frontend.sample_rate != clips.sample_rate:
            raise ConfigError(
                f"{clips.name}: audio of {clips.sample_rate} Hz for a front end of {frontend.sample_rate} Hz"
            )
        self.clips, self.frontend = clips, frontend
        self.one_length = clips.one_length
        self._pictures: tuple[Tensor, Tensor] | None = None
        if not is_trained(frontend):
            name = None if key is None else f"{clips.digest} {key}"
            if name is None or name not in _KEPT:
                made = _pictures(clips, frontend)
                if name is None:
                    self._pictures = made
                    return
                _KEPT[name] = made
                while len(_KEPT) > 1:  # they are large, and cells come variant by variant
                    _KEPT.popitem(last=False)
            self._pictures = _KEPT[name]

    def batch(self, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Pictures of some clips, and their lengths in frames (None: all alike)."""
        if self._pictures is None:
            audio, lengths = (part.to(device) for part in self.clips.samples(rows))
            if self.one_length:
                return self.frontend(audio), None
            return self.frontend(audio, lengths), frames_of(self.frontend, lengths)
        pictures, frames = self._pictures
        longest = int(frames[rows].max())
        picture = pictures[rows, :, :longest].to(device).float()
        return picture, None if self.one_length else frames[rows].to(device)


def frames_of(frontend: FrontEnd, lengths: Tensor) -> Tensor:
    """Frames of clips of so many samples, `[B]`."""
    return torch.tensor([frontend.n_frames(int(length)) for length in lengths], device=lengths.device)


@torch.no_grad()
def _pictures(clips: Clips, frontend: FrontEnd) -> tuple[Tensor, Tensor]:
    """All pictures as float16 (a logarithm needs no more), and their lengths in frames."""
    was_training, device = frontend.training, next(iter(frontend.buffers()), torch.empty(0)).device
    frontend.eval()
    frames = frames_of(frontend, clips.lengths)
    made = torch.zeros(len(frames), frontend.n_bands, int(frames.max()), dtype=torch.float16)
    for start in range(0, len(clips.lengths), _BATCH):
        rows = torch.arange(start, min(start + _BATCH, len(clips.lengths)))
        audio, lengths = (part.to(device) for part in clips.samples(rows))
        picture = frontend(audio, None if clips.one_length else lengths).half().cpu()
        made[rows, :, : picture.shape[2]] = picture
    frontend.train(was_training)
    return made, frames

"""Per-channel energy normalisation: an automatic gain per mel band instead of the logarithm."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .logmel import LogMel
from .smoothing import leaky_sums

_LARGEST = 1e6  # far above what audio gives; keeps any finite input finite behind parameters trained to extremes


class PCEN(LogMel):
    """Mel power over its own recent average, compressed by a root: `(E / (eps + M)^alpha + delta)^r - delta^r`.

    `M[t] = (1 - s) M[t-1] + s E[t]` in every band, starting with the first frame's energy. Steady sounds and
    differences in level fade, onsets stay. Source: Wang et al., "Trainable frontend for robust and far-field keyword
    spotting", ICASSP 2017; what the parameters do: Lostanlen et al., "Per-channel energy normalization: why and how",
    2019. The energy is `LogMel`'s mel power at full scale 1, where `eps` lies about at the noise of 16 bits.

    A frame depends on all before it: `forward_with_state` gives the last average, `[B, n_mels]` float64, to be given
    with the next chunk; the pictures of the chunks are then those of the whole. Without a state, every call starts
    anew. `s`, `alpha`, `delta` and `r` are parameters of every band, kept as logits and logarithms so that training
    cannot leave their ranges.

    Args:
        sample_rate, n_mels, hop_length, win_length, n_fft, f_min, f_max, preemphasis: as `LogMel`.
        s: share of a new frame in the average, in `(0, 1)`; 0.025 averages over 0.4 s at a hop of 10 ms.
        alpha: strength of the gain, in `(0, 1)`.
        delta: bias under the root, above 0.
        r: the root, in `(0, 1)`.
        eps: power added to the average, above 0.
        trainable: whether the four are trained.

    Shape:
        - Input: `[B, n_samples]` float32, full scale is 1
        - Output: `[B, n_mels, T]`, from 0 on

    Raises:
        ValueError: as `LogMel`, or a parameter out of range.

    >>> front, audio = PCEN(), torch.randn(1, 32_000)
    >>> front(audio).shape
    torch.Size([1, 128, 100])
    >>> quiet, loud = front(0.01 * audio), front(audio)
    >>> bool((loud.mean() / quiet.mean()) < 1.3)  # of a ratio of 10,000 in power
    True
    """

    log_power = False
    carries_state = True
    shift, scale = -0.3, 0.4  # what steady noise gives, and the spread over the sounds of `samples`

    def __init__(
        self,
        sample_rate: int = 32_000,
        n_mels: int = 128,
        hop_length: int = 320,
        win_length: int = 800,
        n_fft: int = 1024,
        f_min: float = 0.0,
        f_max: float = 15_000.0,
        preemphasis: float = 0.97,
        s: float = 0.025,
        alpha: float = 0.98,
        delta: float = 2.0,
        r: float = 0.5,
        eps: float = 1e-6,
        trainable: bool = True,
    ):
        super().__init__(sample_rate, n_mels, hop_length, win_length, n_fft, f_min, f_max, preemphasis)
        if not (0 < s < 1 and 0 < alpha < 1 and 0 < r < 1):
            raise ValueError(f"s, alpha and r must lie between 0 and 1, got {s}, {alpha} and {r}")
        if not (delta > 0 and eps > 0):
            raise ValueError(f"delta and eps must be above 0, got {delta} and {eps}")
        self._initial = {"s": s, "alpha": alpha, "delta": delta, "r": r, "eps": eps}
        self.trainable = trainable

        def parameter(value: float) -> nn.Parameter:
            return nn.Parameter(torch.full((n_mels,), value), requires_grad=trainable)

        self.s_logit, self.alpha_logit = parameter(_logit(s)), parameter(_logit(alpha))
        self.delta_log, self.r_logit = parameter(math.log(delta)), parameter(_logit(r))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, so that `PCEN(**x.get_config())` is `x` before it was trained."""
        return super().get_config() | self._initial | {"trainable": self.trainable}

    def forward(
        self,
        audio: Tensor,
        lengths: Tensor | None = None,
        *,
        n_frames: int | None = None,
        at_start: bool = True,
        state: Tensor | None = None,
    ) -> Tensor:
        """`[B, n_mels, n_frames]` of whole clips, or of a chunk; arguments as `LogMel.forward`, and the state."""
        return self.forward_with_state(audio, lengths, n_frames=n_frames, at_start=at_start, state=state)[0]

    def forward_with_state(
        self,
        audio: Tensor,
        lengths: Tensor | None = None,
        *,
        n_frames: int | None = None,
        at_start: bool = True,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`forward`, and the average after each row's last valid frame, `[B, n_mels]` float64."""
        frames, scale = self._frames(audio, lengths, n_frames, at_start)
        # float64 from here on: the power of any finite float32 sample fits, and chunks differ by no rounding.
        energy = torch.cat(list(self._power(frames)), dim=1).double() * scale.double().square().unsqueeze(2)
        s, log_decay = self.s_logit.double().sigmoid(), F.logsigmoid(-self.s_logit.double())
        if state is not None and state.shape != energy[:, 0].shape:
            raise ValueError(f"state must be {list(energy[:, 0].shape)}, got {list(state.shape)}")
        average = leaky_sums(s * energy, log_decay, energy[:, 0] if state is None else state)
        gained = energy * (-self.alpha_logit.double().sigmoid() * (average + self._initial["eps"]).log()).exp()
        delta, r = self.delta_log.double().exp(), self.r_logit.double().sigmoid()
        out = ((gained + delta) ** r - delta**r).clamp(max=_LARGEST).to(audio.dtype)
        if lengths is None:
            return out.transpose(1, 2), average[:, -1]
        last = self.valid_frames(lengths, average.shape[1], at_start) - 1
        return out.transpose(1, 2), average[torch.arange(len(last), device=last.device), last]

    def macs_per_frame(self) -> int:
        """The mel power, and per band two for the average (in its block, from the one before), its input and the gain.

        The logarithm, the exponential and the root of each value are not counted, as the logarithm of others is not.
        """
        return super().macs_per_frame() + 4 * self.n_mels


def _logit(p: float) -> float:
    return math.log(p / (1 - p))

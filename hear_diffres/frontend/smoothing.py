"""First-order recursive smoothing of a whole sequence at once."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 16


def leaky_sums(x: Tensor, log_decay: Tensor, initial: Tensor) -> Tensor:
    """`y[t] = decay * y[t-1] + x[t]` with `y[-1] = initial`, for every band with a decay of its own.

    The sequence is cut into blocks of 16 steps, and all blocks go through their 16 steps side by side, as if nothing
    came before. What a block hands to the next obeys the same recursion with the decay to the power of 16, so it is
    found by the same function: `16 * log16(T)` operations in sequence, work linear in T, and no power of a decay above
    1, however long the sequence.

    Args:
        x: `[B, T, N]`.
        log_decay: `[N]` natural logarithms, at most 0.
        initial: `[B, N]`.

    Shape:
        - Output: `[B, T, N]`

    >>> leaky_sums(torch.ones(1, 4, 1), torch.tensor([0.5]).log(), torch.zeros(1, 1)).flatten().tolist()
    [1.0, 1.5, 1.75, 1.875]
    """
    batch, steps, n_bands = x.shape
    size = min(_BLOCK, steps)
    n_blocks = -(-steps // size)
    if n_blocks * size > steps:
        x = torch.cat([x, x.new_zeros(batch, n_blocks * size - steps, n_bands)], dim=1)
    blocks, decay = x.reshape(batch, n_blocks, size, n_bands), log_decay.exp()
    local = [blocks[:, :, 0]]
    for step in range(1, size):
        local.append(torch.addcmul(blocks[:, :, step], local[-1], decay))
    carried = initial.unsqueeze(1)
    if n_blocks > 1:
        carried = torch.cat([carried, leaky_sums(local[-1][:, :-1], size * log_decay, initial)], dim=1)
    fading = (torch.arange(1, size + 1, device=x.device).unsqueeze(1) * log_decay).exp()
    out = torch.addcmul(torch.stack(local, dim=2), carried.unsqueeze(2), fading)
    return out.reshape(batch, n_blocks * size, n_bands)[:, :steps]

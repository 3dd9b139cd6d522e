"""The loop both stages of training share: optimiser, schedule, average, log, and checkpoints that resume."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from . import device as devices

SAVE_EVERY_S = 180.0
LOG_EVERY = 50


class Average:
    """Exponential moving average of a module's state; what is shipped."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's present state."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


def ramp(clips: int, total: int, warmup: int, decay_share: float) -> float:
    """Share of the peak learning rate: warm up, hold, then fall linearly to 0 over the last `decay_share`.

    >>> [ramp(n, 100, 10, 0.5) for n in (0, 5, 10, 50, 75, 100)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rise = min(1.0, clips / max(1, warmup))
    fall = min(1.0, max(0.0, (total - clips) / max(1.0, decay_share * total)))
    return min(rise, fall)


class Loop:
    """One stage of training.

    Args:
        run: folder; `NAME.pt` is the checkpoint, `NAME.csv` the log.
        name: of the stage.
        network: what is trained and averaged.
        helpers: trained with it, not kept (projections).
        clips: how many to see.
        lr: peak learning rate of AdamW.
        schedule: clips seen to share of `lr`.
        weight_decay: on weights of more than one axis.
        ema: decay of the average.
        clip_norm: gradients are scaled down to this norm; None leaves them.
        device: where to train; CUDA under bfloat16 autocast.
        apart: parameters with a multiple of the learning rate of their own, and without weight decay.
        plan: what the result depends on beside clips and learning rate, as JSON has it; kept in the checkpoint.

    Raises:
        WeightsError: the folder's checkpoint is of another plan or network.
    """

    def __init__(
        self,
        run: Path,
        name: str,
        network: nn.Module,
        helpers: nn.Module,
        *,
        clips: int,
        lr: float,
        schedule: Callable[[int], float],
        weight_decay: float,
        ema: float,
        clip_norm: float | None,
        device: torch.device,
        apart: Sequence[tuple[nn.Parameter, float]] = (),
        plan: Mapping[str, Any] | None = None,
    ):
        self.run, self.name, self.network, self.helpers = run, name, network, helpers
        self.total, self.lr, self.schedule, self.clip_norm, self.device = clips, lr, schedule, clip_norm, device
        self.trainable = [p for m in (network, helpers) for p in m.parameters() if p.requires_grad]
        others = {id(p) for p, _ in apart}
        common = [p for p in self.trainable if id(p) not in others]
        groups = [
            {"params": [p for p in common if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in common if p.ndim <= 1], "weight_decay": 0.0},
        ]
        groups += [{"params": [p], "weight_decay": 0.0} for p, _ in apart]
        self.lr_scales = [1.0, 1.0, *(scale for _, scale in apart)]
        self.optimiser = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))
        self.average = Average(network, ema)
        self.plan = json.loads(json.dumps(plan or {}))
        self.step = self.clips = 0
        self.origin = ""  # model whose run this was taken from
        self.checkpoint = run / f"{name}.pt"
        if self.checkpoint.exists():
            self._resume()

    @property
    def finished(self) -> bool:
        """All clips were seen."""
        return self.clips >= self.total

    def _resume(self) -> None:
        saved = read_checkpoint(self.checkpoint)
        changes = differences(saved, self.plan)
        if changes:
            raise WeightsError(f"{self.checkpoint}: begun with {changes}; give a fresh folder, or go on with the same")
        try:
            self.network.load_state_dict(saved["network"])
            self.helpers.load_state_dict(saved["helpers"])
        except RuntimeError as error:  # names and shapes, in PyTorch's words
            raise WeightsError(
                f"{self.checkpoint}: a run of another recipe or with other options; give a fresh folder, or its own "
                f"({str(error).splitlines()[-1].strip()[:200]})"
            ) from error
        self.optimiser.load_state_dict(saved["optimiser"])
        self.average.state = {name: value.to(self.device) for name, value in saved["average"].items()}
        self.average.updates = saved["updates"]
        self.step, self.clips, self.origin = saved["step"], saved["clips"], saved.get("origin", "")

    def save(self) -> None:
        """Write the checkpoint, atomically.

        Raises:
            WeightsError: it cannot be written; the one before stays.
        """
        part = self.checkpoint.with_suffix(".part")
        state = {
            "network": self.network.state_dict(), "helpers": self.helpers.state_dict(),
            "optimiser": self.optimiser.state_dict(), "average": self.average.state, "updates": self.average.updates,
            "step": self.step, "clips": self.clips, "origin": self.origin, "plan": json.dumps(self.plan),
        }  # fmt: skip
        try:
            torch.save(state, part)
        except (OSError, RuntimeError) as error:  # of a full disk torch knows that a position is unexpected
            part.unlink(missing_ok=True)
            reason = str(error.__context__ or error).splitlines()[0]
            raise WeightsError(f"{self.checkpoint}: cannot be written, is the disk full? ({reason})") from error
        os.replace(part, self.checkpoint)

    def train(
        self,
        batches: Iterable[dict[str, Any]],
        losses_of: Callable[[dict[str, Any]], tuple[Tensor, dict[str, Tensor]]],
        max_seconds: float | None = None,
        on_save: Callable[[], None] | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> bool:
        """Train until all clips are seen or `max_seconds` are over; True if all were.

        Args:
            batches: each with `step` and `mel`.
            losses_of: the sum to descend, and what to log beside it.
            max_seconds: stop after this long, with a checkpoint.
            on_save: called before every checkpoint.
            on_step: called after every step, with its clips.
        """
        if self.finished:
            return True
        started = saved_at = time.monotonic()
        with _Log(self.run / f"{self.name}.csv", self.step) as log:
            for batch in batches:
                lr = self.lr * self.schedule(self.clips)
                for group, scale in zip(self.optimiser.param_groups, self.lr_scales, strict=True):
                    group["lr"] = lr * scale
                with torch.autocast(self.device.type, torch.bfloat16, enabled=devices.on_gpu(self.device)):
                    total, parts = losses_of(batch)
                self._descend(total, parts)
                self.step, self.clips = int(batch["step"]) + 1, self.clips + len(batch["mel"])
                elapsed = time.monotonic() - started
                if on_step is not None:
                    on_step(len(batch["mel"]))
                stop = self.finished or (max_seconds is not None and elapsed > max_seconds)
                log.add(self.step, self.clips, elapsed, lr, {"total": total, **parts}, flush=stop)
                if stop or time.monotonic() - saved_at > SAVE_EVERY_S:
                    if on_save is not None:  # first: a run that is finished is not begun again for it
                        on_save()
                    self.save()
                    saved_at = time.monotonic()
                if stop:
                    break
        return self.finished

    def _descend(self, total: Tensor, parts: dict[str, Tensor]) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        norm = nn.utils.clip_grad_norm_(self.trainable, self.clip_norm or float("inf"))
        parts["grad_norm"] = norm
        if torch.isfinite(norm):
            self.optimiser.step()
            self.average.update(self.network)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `Loop.save` wrote, on the CPU: AdamW wants its counts there, and moves the rest to where its parameters are.

    Raises:
        FileNotFoundError: no such file.
        WeightsError: a damaged file, or another one.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises whatever its unpickler meets
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: not a readable checkpoint ({reason})") from error
    if not isinstance(saved, dict) or not {"network", "optimiser", "clips"} <= saved.keys():
        raise WeightsError(f"{path}: not a checkpoint of training")
    return saved


def differences(saved: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """What a checkpoint was begun with that is otherwise now; empty where nothing is."""
    begun = json.loads(saved.get("plan", "{}"))  # checkpoints of before 2026-11-27 have none
    other = sorted(name for name in begun.keys() & plan.keys() if begun[name] != plan[name])
    return ", ".join(f"{name} {begun[name]!r}, now {plan[name]!r}" for name in other)


class _Log:
    """Means over `LOG_EVERY` steps, appended to a CSV file.

    Rows beyond `step`, where a run goes on from, are dropped.
    """

    def __init__(self, path: Path, step: int):
        self.path, self.step, self.sums, self.since = path, step, dict[str, float](), 0

    def __enter__(self) -> _Log:
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        head, rows = lines[:1], [line for line in lines[1:] if line.endswith("\n")]
        kept = [line for line in rows if int(line.partition(",")[0]) <= self.step]
        self.new = not kept
        wanted = [*head, *kept] if kept else []  # without rows, the head comes with the first one
        if lines != wanted:  # killed after its last checkpoint, or a full disk
            part = self.path.with_suffix(".csv.part")
            part.write_text("".join(wanted))
            os.replace(part, self.path)
        self.file = self.path.open("a", newline="")
        self.writer = csv.writer(self.file)
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(
        self, step: int, clips: int, seconds: float, lr: float, values: dict[str, Tensor], flush: bool = False
    ) -> None:
        for key, value in values.items():
            self.sums[key] = self.sums.get(key, 0.0) + float(value.detach())
        self.since += 1
        if self.since < LOG_EVERY and not flush:
            return
        if self.new:
            self.writer.writerow(["step", "clips", "seconds", "lr", *self.sums])
            self.new = False
        means = (f"{total / self.since:.5f}" for total in self.sums.values())
        self.writer.writerow([step, clips, f"{seconds:.0f}", f"{lr:.2e}", *means])
        self.file.flush()
        self.sums, self.since = {}, 0


def read_log(path: Path) -> Iterator[dict[str, float]]:
    """Rows of a log, as numbers."""
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield {key: float(value) for key, value in row.items()}

"""Environmental sounds from scratch: k-fold cross-validation on the official folds of ESC-50 or ESC-10."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from .figures import bars, confusions
from .grid import Finished
from .page import write_page
from .table import by_variant, classes_csv, mean_std, scores_csv, scores_table

# README of github.com/ikiskin/audio_spectrogram_transformer, ESC-50 from scratch: macro precision, recall, F1. Its AST
# has 2 blocks of 6 heads.
SEED_STUDY = {"esc50": {"CNN": (0.208, 0.202, 0.200), "AST": (0.385, 0.377, 0.362)}}
_NOT_RUN = "seed study's, not run here"


def report(finished: Sequence[Finished], out: Path) -> Path:
    """Table, CSV files and pictures of a study; returns the page.

    Raises:
        ImportError: matplotlib is missing; the message names the extra.
    """
    first = finished[0].cell.settings
    task = str(first["task"])
    theirs = SEED_STUDY.get(task.split("_")[0], {})
    more = [
        [f"*{name} ({_NOT_RUN})*", "-", *(f"{value:.3f}" for value in scores), "-", "-", "-", "-"]
        for name, scores in theirs.items()
    ]
    pictures = {"f1.png": "Macro F1 of every variant"}
    lines = {f"{name} ({_NOT_RUN})": scores[2] for name, scores in theirs.items()}
    bars(finished, "f1", f"{task}, from scratch", out / "f1.png", lines)
    for name, runs in by_variant(finished).items():
        file = f"confusion-{re.sub(r'[^A-Za-z0-9+._]+', '-', name)}.png"
        f1 = statistics.fmean(run.result["f1"] for run in runs)
        confusions(runs, f"{task}, {name}: macro F1 {f1:.2f}", out / file)
        pictures[file] = f"Confusion of {name}"
    files = {"results.csv": scores_csv(finished), "classes.csv": classes_csv(finished)}
    parts = [describe_training(finished), scores_table(finished, more), *_learned(finished)]
    return write_page(out, f"{task} from scratch", finished, parts, files, pictures)


def _learned(finished: Sequence[Finished]) -> list[str]:
    """What became of single numbers that front ends learn, such as DMEL's window; nothing where there are none."""
    lines = []
    for name, runs in by_variant(finished).items():
        for what, begun in runs[0].result["frontend_before"].items():
            ends = [run.result["frontend_after"][what] for run in runs]
            each = ", ".join(f"{end:.1f}" for end in ends)
            lines.append(f"- {name}: {what} from {begun:.1f} to {mean_std(ends, 1)} ({each})")
    return ["Learned by front ends, at the epoch that was kept:", "\n".join(lines)] if lines else []


def describe_training(finished: Sequence[Finished]) -> str:
    """How the networks were trained and tested, in words."""
    settings = finished[0].cell.settings
    recipe, clips = settings["recipe"], finished[0].result["clips"]
    folds = list(dict.fromkeys(one.cell.fold for one in finished))
    kept = (
        "the fold after the test fold"
        if settings["validation"] == "fold"
        else f"{float(settings['validation']):.0%} of the training folds' clips"
    )
    patience = {one.cell.settings["recipe"]["patience"] for one in finished}
    early = sorted(epochs for epochs in patience if epochs < recipe["epochs"])
    ended = f", ended after {' or '.join(map(str, early))} without a smaller loss" if early else ""
    if early and len(patience) > len(early):
        ended += " in some of the runs"
    return (
        f"Trained from scratch, tested on {', '.join(folds)} in turn ({clips['test']} clips in {folds[0]}), never seen "
        f"in training; the epoch with the least loss on {kept} ({clips['valid']} clips) is tested. At most "
        f"{recipe['epochs']} epochs{ended}; mixup "
        f"{recipe['mixup']:g}, SpecAugment {recipe['time_mask']:g} of time and "
        f"{recipe['frequency_mask']:g} of bands, rotation in time by {recipe['shift']:g}. Precision, recall and F1 are "
        "means over the classes."
    )

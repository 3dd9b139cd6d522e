"""Which reader belongs to which task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import ConfigError
from . import corpora, events, scenes
from .source import Clip
from .spec import TaskSpec

READERS: dict[str, Callable[[Path], Iterator[Clip]]] = {
    "dcase2016_task2": events.dcase2016_task2,
    "nsynth_pitch": corpora.nsynth_pitch,
    "speech_commands": corpora.speech_commands,
    "beehive_states_fold0": scenes.beehive("3"),
    "beehive_states_fold1": scenes.beehive("1"),
    "beijing_opera": scenes.beijing_opera,
    "tfds_crema_d": scenes.crema_d,
    "esc50": scenes.esc50,
    "esc10": scenes.esc10,
    "fsd50k": corpora.fsd50k,
    "gunshot_triangulation": scenes.gunshot,
    "tfds_gtzan": scenes.gtzan,
    "tfds_gtzan_music_speech": scenes.gtzan_music_speech,
    "libricount": scenes.libricount,
    "maestro": events.maestro,
    "mridangam_stroke": scenes.mridangam_stroke,
    "mridangam_tonic": scenes.mridangam_tonic,
    "vocal_imitation": scenes.vocal_imitation,
    "vox_lingua_top10": scenes.vox_lingua,
    "spoken_digit": scenes.spoken_digit,
}


def read_source(spec: TaskSpec, root: Path) -> list[Clip]:
    """Every clip of a data set, as its archives unpack it.

    Raises:
        ConfigError: nothing of this data set is there, two clips have one name, a file is missing, or a clip's number
            of labels is not the task's.
    """
    if not root.is_dir():
        raise ConfigError(f"{root}: no such folder")
    clips = list(READERS[spec.name](root))
    if not clips:
        raise ConfigError(f"{root}: nothing of {spec.name} here; expected {READERS[spec.name].__doc__ or 'its files'}")
    seen: dict[str, Path] = {}
    for clip in clips:
        if clip.name in seen:
            raise ConfigError(f"{clip.path}: {seen[clip.name]} has the same name; names must be unique in a task")
        seen[clip.name] = clip.path
        if not clip.path.is_file():
            raise ConfigError(f"{clip.path}: listed by {spec.name}, but not there")
        if not spec.is_multilabel and len(clip.labels) != 1:
            raise ConfigError(f"{clip.path}: {len(clip.labels)} labels; clips of {spec.name} have exactly one")
    return clips

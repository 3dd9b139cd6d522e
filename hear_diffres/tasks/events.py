"""The event tasks: sounds in an office, and the notes of a piano."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .scenes import find
from .source import Clip, Event


def _clip(path: Path, events: list[Event]) -> Clip:
    return Clip(path.stem, path, tuple(event.label for event in events), events=tuple(events))


def dcase2016_task2(root: Path) -> Iterator[Clip]:
    """`annotation/NAME.txt` (start, end in seconds, label) beside `sound/NAME.wav`; development and test parts."""
    for table in sorted(root.rglob("annotation/*.txt")):
        path = table.parent.parent / "sound" / f"{table.stem}.wav"
        if not path.exists():
            raise ConfigError(f"{table}: there is no {path}")
        with table.open(newline="") as file:
            rows = [row for row in csv.reader(file, delimiter="\t") if row]
        yield _clip(path, [Event(row[2], float(row[0]) * 1000, float(row[1]) * 1000) for row in rows])


_LOWEST, _HIGHEST = 21, 108  # a piano's keys
_PEDAL = 64


def maestro(root: Path) -> Iterator[Clip]:
    """`maestro-v3.0.0.csv` with audio and MIDI files; a note lasts as long as the pedal holds it."""
    try:
        import pretty_midi
    except ImportError as error:
        raise ConfigError("maestro needs pretty_midi to read MIDI files: pip install 'hear-diffres[tasks]'") from error
    table = find(root, "maestro-v3.0.0.csv", "table of MAESTRO")
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            midi = pretty_midi.PrettyMIDI(str(table.parent / row["midi_filename"]))
            path = table.parent / row["audio_filename"]
            events = [Event(pitch, start * 1000, end * 1000) for start, end, pitch in pedalled_notes(midi)]
            yield _clip(path, [event for event in events if _LOWEST <= int(event.label) <= _HIGHEST])


@dataclass
class _Note:
    start: float
    end: float
    pitch: int


def pedalled_notes(midi: Any) -> list[tuple[float, float, int]]:
    """Start, end (seconds) and pitch of every note, ends moved to where the sustain pedal lets go or the same key is
    struck again, as `note_seq.apply_sustain_control_changes` does (Hawthorne et al., "Onsets and Frames", ISMIR 2018).

    Args:
        midi: a `pretty_midi.PrettyMIDI`.
    """
    out: list[_Note] = []
    for instrument in midi.instruments:
        notes = [_Note(note.start, note.end, note.pitch) for note in instrument.notes]
        # At one time, in this order: pedal down, pedal up, note on, note off.
        moments: list[tuple[float, int, _Note | None]] = [
            (change.time, 0 if change.value >= 64 else 1, None)
            for change in instrument.control_changes
            if change.number == _PEDAL
        ]
        moments += [(note.start, 2, note) for note in notes] + [(note.end, 3, note) for note in notes]
        moments.sort(key=lambda moment: moment[:2])
        sounding: list[_Note] = []
        down, time = False, 0.0
        for time, kind, note in moments:
            if note is None:
                down = kind == 0
                if not down:
                    for held in sounding:
                        held.end = max(held.end, time)
                    sounding = [other for other in sounding if other.end > time]
            elif kind == 2:
                if down:
                    for other in sounding:
                        if other.pitch == note.pitch:
                            other.end = time
                    sounding = [other for other in sounding if other.pitch != note.pitch]
                sounding.append(note)
            elif not down:
                sounding = [other for other in sounding if other is not note]
        for held in sounding:  # the pedal is still down
            held.end = time
        out += [note for note in notes if note.end > note.start]
    return sorted((note.start, note.end, note.pitch) for note in out)

"""Small synthetic copies of the benchmark's data sets, with their real folders and file names."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

RATE = 2000


def wav(path: Path, seconds: float = 0.3, rate: int = RATE, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.name.encode())
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, (int(seconds * rate), channels))
    soundfile.write(path, noise, rate, subtype="PCM_16")


def table(path: Path, header: list[str], rows: list[list[object]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)


def esc50(root: Path) -> None:
    header = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    rows: list[list[object]] = []
    for fold in range(1, 6):
        for target, category in ((0, "dog"), (14, "chirping_birds"), (3, "cow")):
            name = f"{fold}-10{target}{fold}-A-{target}.wav"
            rows.append([name, fold, target, category, category == "dog" or category == "cow", 1, "A"])
            wav(root / "ESC-50-master" / "audio" / name, 0.5)
    table(root / "ESC-50-master" / "meta" / "esc50.csv", header, rows)


def spoken_digit(root: Path) -> None:
    for digit in range(3):
        for take in range(6):
            wav(root / "recordings" / f"{digit}_jackson_{take}.wav", 0.1 + 0.1 * take)


def crema_d(root: Path) -> None:
    for speaker in range(1001, 1007):
        for emotion in ("ANG", "NEU"):
            wav(root / "AudioWAV" / f"{speaker}_DFA_{emotion}_XX.wav")
    wav(root / "AudioWAV" / "1040_ITH_SAD_X.wav")


def gtzan(root: Path) -> None:
    for genre in ("blues", "rock"):
        for number in range(20):
            wav(root / "genres" / genre / f"{genre}.{number:05d}.wav")


def gtzan_music_speech(root: Path) -> None:
    for number in range(20):
        wav(root / "music_wav" / f"piece{number}.wav")
        wav(root / "speech_wav" / f"talk{number}.wav")


def beijing_opera(root: Path) -> None:
    for number in range(8):
        for name in ("bangu", "daluo"):
            path = root / "beijing_opera_percussion_instrument_1.0" / f"{number}__jingju__{name}-{number:03d}.wav"
            wav(path)


def mridangam(root: Path) -> None:
    for number in range(8):
        for stroke, tonic in (("bheem", "b"), ("thom", "csh")):
            wav(root / "mridangam_stroke_1.5" / tonic / f"2242__akshay__{stroke}-{tonic}-{number:03d}.wav")


def libricount(root: Path) -> None:
    for count in (0, 1, 10):
        for number in range(7):
            wav(root / "test" / f"{count}_{number}x.wav")


def vox_lingua(root: Path) -> None:
    for index, language in enumerate(["ab", "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr"]):
        for number in range(25 + (language != "bg")):
            wav(root / "dev" / language / f"{language}__U__S{index}---{number}.wav")


def vocal_imitation(root: Path) -> None:
    rows: list[list[object]] = []
    for number in range(9):
        for reference in ("001_dog.wav", "002_car.wav"):
            name = f"{number}_{reference[:3]}_imitation.wav"
            wav(root / "VocalImitationSet" / "vocal_imitations" / "included" / name)
            rows.append([name, reference, 1])
    rows.append(["bad.wav", "001_dog.wav", 0])
    table(
        root / "VocalImitationSet" / "vocal_imitations.txt",
        ["imitation_filename", "reference_filename", "included"],
        rows,
        "\t",
    )


def gunshot(root: Path) -> None:
    for firearm in range(1, 8):
        for microphone in range(1, 5):
            wav(root / f"gunshot_mic{microphone}_{firearm:02d}_fid{firearm}.wav", 0.4)


def beehive(root: Path) -> None:
    for hive, day in (("Hive1", "12_06_2018"), ("Hive3", "14_07_2017")):
        for number in range(10):
            queen = "QueenBee" if number % 2 else "NO_QueenBee"
            wav(root / f"{hive}_{day}" / queen / f"{hive}_{day}_{queen}_H1_audio_{number}.wav", 2.0)


def dcase(root: Path) -> None:
    for part in ("dcase2016_task2_train_dev/dcase2016_task2_dev", "dcase2016_task2_test_public"):
        for number in range(5):
            name = f"{part[-3:]}_{number}"
            wav(root / part / "sound" / f"{name}.wav", 2.0)
            text = root / part / "annotation" / f"{name}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("0.25\t0.75\tcough\n119.5\t120.5\tspeech\n121\t122\tcough\n")


def maestro(root: Path) -> None:
    import pretty_midi

    rows: list[list[object]] = []
    for number in range(5):
        name = f"2018/piece{number}"
        wav(root / "maestro-v3.0.0" / f"{name}.wav", 2.0)
        midi = pretty_midi.PrettyMIDI()
        piano = pretty_midi.Instrument(0)
        piano.notes = [pretty_midi.Note(64, 60 + number, 0.5, 1.0), pretty_midi.Note(64, 10, 0.5, 1.0)]
        midi.instruments.append(piano)
        midi.write(str(root / "maestro-v3.0.0" / f"{name}.midi"))
        rows.append(["train", f"{name}.midi", f"{name}.wav", 2.0])
    header = ["split", "midi_filename", "audio_filename", "duration"]
    table(root / "maestro-v3.0.0" / "maestro-v3.0.0.csv", header, rows)


def nsynth(root: Path) -> None:
    for split in ("train", "valid", "test"):
        folder = root / f"nsynth-{split}"
        examples = {f"bass_{split}_000-{pitch:03d}-075": {"pitch": pitch} for pitch in (20, 21, 60, 108, 109)}
        for name in examples:
            wav(folder / "audio" / f"{name}.wav")
        (folder / "examples.json").write_text(json.dumps(examples))


def speech_commands(root: Path) -> None:
    train = root / "speech_commands_v0.02"
    for word in ("yes", "bed"):
        for speaker in ("aa", "bb", "cc"):
            wav(train / word / f"{speaker}_nohash_0.wav")
        wav(root / "speech_commands_test_set_v0.02" / (word if word == "yes" else "_unknown_") / "dd_nohash_0.wav")
    (train / "validation_list.txt").write_text("yes/bb_nohash_0.wav\nbed/bb_nohash_0.wav\n")
    (train / "testing_list.txt").write_text("yes/cc_nohash_0.wav\nbed/cc_nohash_0.wav\n")
    wav(train / "_background_noise_" / "running_tap.wav", 2.6)
    wav(train / "_background_noise_" / "pink_noise.wav", 2.6)
    wav(root / "speech_commands_test_set_v0.02" / "_silence_" / "1.wav")


def fsd50k(root: Path) -> None:
    rows: list[list[object]] = [[64760, "Bark,Dog,Animal", "x", "train"], [64761, "Car", "x", "val"]]
    rows.append([83299, "Car", "x", "train"])
    table(root / "FSD50K.ground_truth" / "dev.csv", ["fname", "labels", "mids", "split"], rows)
    table(root / "FSD50K.ground_truth" / "eval.csv", ["fname", "labels", "mids"], [[37199, "Car,Animal", "x"]])
    for name, seconds in ((64760, 0.3), (64761, 0.7)):
        wav(root / "FSD50K.dev_audio" / f"{name}.wav", seconds)
    wav(root / "FSD50K.eval_audio" / "37199.wav", 0.4)


COPIES: dict[str, Callable[[Path], None]] = {
    "dcase2016_task2": dcase,
    "nsynth_pitch": nsynth,
    "speech_commands": speech_commands,
    "beehive_states_fold0": beehive,
    "beehive_states_fold1": beehive,
    "beijing_opera": beijing_opera,
    "tfds_crema_d": crema_d,
    "esc50": esc50,
    "esc10": esc50,
    "fsd50k": fsd50k,
    "gunshot_triangulation": gunshot,
    "tfds_gtzan": gtzan,
    "tfds_gtzan_music_speech": gtzan_music_speech,
    "libricount": libricount,
    "maestro": maestro,
    "mridangam_stroke": mridangam,
    "mridangam_tonic": mridangam,
    "vocal_imitation": vocal_imitation,
    "vox_lingua_top10": vox_lingua,
    "spoken_digit": spoken_digit,
}
# Clips per split of the directory made from the copy, in the task's default mode.
SIZES: dict[str, list[int]] = {
    "dcase2016_task2": [6, 2, 2],
    "nsynth_pitch": [3, 3, 3],
    "speech_commands": [6, 6, 3],
    "beehive_states_fold0": [9, 1, 10],
    "beehive_states_fold1": [9, 1, 10],
    "beijing_opera": [4, 3, 3, 3, 3],
    "tfds_crema_d": [3, 3, 2, 2, 2],
    "esc50": [3] * 5,
    "esc10": [2] * 5,
    "fsd50k": [1, 1, 1],
    "gunshot_triangulation": [4] * 7,
    "tfds_gtzan": [4] * 10,
    "tfds_gtzan_music_speech": [4] * 10,
    "libricount": [5, 4, 4, 4, 4],
    "maestro": [1] * 5,
    "mridangam_stroke": [4, 3, 3, 3, 3],
    "mridangam_tonic": [4, 3, 3, 3, 3],
    "vocal_imitation": [6] * 3,
    "vox_lingua_top10": [52] * 5,
    "spoken_digit": [4, 4, 4, 3, 3],
}

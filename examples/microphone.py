"""Listen, and say each second which of some reference clips it sounds most like.

    python examples/microphone.py                      # the microphone; needs pip install 'hear-diffres[mic]'
    python examples/microphone.py --file street.wav    # a file, as if it were heard
    python examples/microphone.py --reference my_clips/ --model mn10 --chunk-seconds 2

Each line: when, how loud (dB below full scale), the nearest reference and the cosine similarity to it, all embeddings
standardised by the references. Ends with the file or with Ctrl-C, and then names what all of it together was most like.
"""

from __future__ import annotations

import argparse
import queue
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch

from hear_diffres import HearModel, Streamer, load_model
from hear_diffres.archive import find_audio
from hear_diffres.audio import read_audio
from hear_diffres.errors import HearDiffResError

PIECE_SECONDS = 0.1


class References:
    """Clips by name, with their scene embeddings standardised."""

    def __init__(self, paths: list[Path], model: HearModel):
        files = find_audio(paths)
        if len(files) < 2:
            raise ValueError(f"need at least two reference clips to compare with, got {len(files)}")
        clips = [torch.from_numpy(read_audio(file))[None] for file in files]
        vectors = torch.cat([model.get_scene_embeddings(clip) for clip in clips])
        self.names = [file.stem for file in files]
        self.mean, self.std = vectors.mean(0), vectors.std(0).clamp(min=1e-6)
        self.vectors = self._standardise(vectors)

    def _standardise(self, vectors: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize((vectors - self.mean) / self.std, dim=-1)

    def nearest(self, vector: torch.Tensor) -> str:
        """Name and similarity."""
        similarity = self.vectors @ self._standardise(vector)
        best = int(similarity.argmax())
        return f"{self.names[best]:16} {similarity[best]:5.2f}"


def from_file(path: Path) -> tuple[int, Iterator[np.ndarray]]:
    """Sample rate and pieces of a file."""

    def pieces() -> Iterator[np.ndarray]:
        size = max(1, int(PIECE_SECONDS * rate))
        for block in soundfile.blocks(path, blocksize=size, dtype="float32", always_2d=True):
            yield block.mean(axis=1)

    rate = soundfile.info(path).samplerate
    return rate, pieces()


def from_microphone() -> tuple[int, Iterator[np.ndarray]]:
    """Sample rate of the default microphone and what it hears, until Ctrl-C."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package is there, PortAudio is not
        raise SystemExit(
            f"the microphone needs sounddevice ({error}): pip install 'hear-diffres[mic]', or use --file"
        ) from error
    try:
        rate = int(sounddevice.query_devices(kind="input")["default_samplerate"])
    except (sounddevice.PortAudioError, ValueError) as error:
        raise SystemExit(f"no microphone: {error}; use --file") from error
    heard: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()

    def pieces() -> Iterator[np.ndarray]:
        # The callback runs in PortAudio's thread and must return at once: it only hands the samples over.
        with sounddevice.InputStream(
            samplerate=rate, channels=1, dtype="float32", blocksize=int(PIECE_SECONDS * rate),
            callback=lambda samples, frames, time, status: heard.put(samples[:, 0].copy()),
        ):  # fmt: skip
            while True:
                yield heard.get()

    return rate, pieces()


def listen(pieces: Iterator[np.ndarray], stream: Streamer, references: References) -> None:
    """Print a line whenever embeddings become final, and one for the whole at the end."""

    def line(embeddings: torch.Tensor, times_ms: torch.Tensor) -> None:
        if len(times_ms):
            level = 10 * np.log10(max(power / max(1, count), 1e-12))
            print(f"{times_ms[0] / 1000:8.2f} s {level:6.1f} dB   {references.nearest(embeddings.mean(0))}", flush=True)

    power, count = 0.0, 0
    try:
        for piece in pieces:
            power, count = power + float(np.square(piece, dtype=np.float64).sum()), count + len(piece)
            final = stream.push(piece)
            line(*final)
            if len(final[1]):
                power, count = 0.0, 0
    except KeyboardInterrupt:
        print()
    line(*stream.finish())
    if stream.seconds:
        print(f"all {stream.seconds:.2f} s together:   {references.nearest(stream.scene())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, help="listen to this file instead of the microphone")
    parser.add_argument("--reference", type=Path, nargs="+", default=[Path(__file__).with_name("clips")])
    parser.add_argument("--model", default="mn04")
    parser.add_argument("--reduction", type=float, default=0.5)
    parser.add_argument("--chunk-seconds", type=float, default=1.0)
    options = parser.parse_args()
    try:
        model = load_model(options.model, reduction=options.reduction, chunk_seconds=options.chunk_seconds)
        rate, pieces = from_microphone() if options.file is None else from_file(options.file)
        stream = Streamer(model, sample_rate=rate)
        print(f"{rate} Hz, a line about {stream.latency_ms / 1000:.2f} s after it began; Ctrl-C ends")
        listen(pieces, stream, References(options.reference, model))
    except (HearDiffResError, ValueError, soundfile.SoundFileError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()

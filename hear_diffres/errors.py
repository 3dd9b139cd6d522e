"""The exceptions of the package.

Bad values raise ``ValueError`` and bad types ``TypeError``, as everywhere in Python; what concerns a
file (audio, weights, configuration) or a stream raises one of the classes below, whose message names it.
"""

from __future__ import annotations


class HearDiffResError(Exception):
    """Base class of what goes wrong with a file or a stream."""


class AudioFileError(HearDiffResError):
    """An audio file cannot be decoded, or holds nothing that can be embedded."""


class StreamError(HearDiffResError, ValueError):
    """Samples pushed into a `Streamer` cannot be embedded, or come after its end."""


class WeightsError(HearDiffResError):
    """A weights file is missing, damaged, or does not fit the network it was asked for."""


class ConfigError(HearDiffResError):
    """A configuration file is missing or says something the package does not know."""


class TrainingError(HearDiffResError):
    """Training came to nothing."""


class AudioFileWarning(UserWarning):
    """An audio file was read, but not all of what it should hold."""


class UntrainedWeightsWarning(UserWarning):
    """The model runs, but with random weights: none that were trained ship for it."""

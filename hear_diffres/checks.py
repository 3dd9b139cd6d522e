"""Values out of files and from command lines: what is wrong with one is said by its name."""

from __future__ import annotations

from typing import Any

from .errors import ConfigError

_WORDS = {float: "a number", int: "a whole number", str: "a text", tuple: "a list", dict: "a table"}


def check(name: str, value: Any, what: str, holds: object) -> None:
    """Raise ConfigError, "NAME must be WHAT", unless it holds.

    >>> check("clips", 0, "1 or more", 0 >= 1)
    Traceback (most recent call last):
        ...
    hear_diffres.errors.ConfigError: clips must be 1 or more, got 0
    """
    if not holds:
        raise ConfigError(f"{name} must be {what}, got {value!r}")


def check_kind(name: str, value: Any, kind: type) -> None:
    """Raise ConfigError unless the value is of a kind: float (which whole numbers are too), int, str, tuple or dict."""
    right = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    check(name, value, _WORDS[kind], right and not isinstance(value, bool))

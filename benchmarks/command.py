"""Commands without options: they say so, and measure only when nothing is asked."""

from __future__ import annotations

import argparse


def no_options(text: str | None) -> None:
    """End with help, or with an error, where arguments were given: these commands overwrite results.

    Args:
        text: docstring of the command's module.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()

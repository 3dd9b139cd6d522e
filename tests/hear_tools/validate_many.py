"""Run inside the HEAR environment: `validate_many.py 6|2 MODULE ...`; prints one JSON line per module.

6: hearvalidator 2021.0.6 exactly as its command line runs it. 2: the timestamp and scene checks of 2021.0.2 (the rest
of that version refuses 32 kHz by mistake: its own message lists it as allowed).
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from pathlib import Path


def main() -> None:
    version, *names = sys.argv[1:]
    if version == "2":
        sys.path.insert(0, str(Path(sys.prefix) / "validator-2021.0.2"))
    from hear_diffres.hear_compat import stand_in_for_tensorflow

    try:
        import tensorflow  # noqa: F401
    except ImportError:
        sys.modules["tensorflow"] = stand_in_for_tensorflow()
    from hearvalidator import validate

    for name in names:
        result, output = "Looks good!", io.StringIO()
        with contextlib.redirect_stdout(output), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check = validate.ValidateModel(name, "", device="cpu")
            try:
                if version == "6":
                    check()
                else:
                    check.import_model()
                    check.check_load_model()
                    check.check_timestamp_embeddings()
                    check.check_scene_embeddings()
            except validate.ModelError as error:
                result = f"ModelError: {error}"
        # What the validator says; that a tier has no weights comes from us, in its name.
        theirs = [w for w in caught if "hearvalidator" in str(w.filename)]
        notes = [str(w.message) for w in theirs if w.category.__name__ != "UntrainedWeightsWarning"]
        print(json.dumps({"module": name, "result": result, "warnings": notes, "file": validate.__file__}), flush=True)


if __name__ == "__main__":
    main()

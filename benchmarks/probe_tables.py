"""Tables of what `hear-diffres probe` measured, and how its results are read."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hear_diffres.registry import REDUCTIONS, list_models

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SETS = {
    "esc10": "ESC-10",
    "esc50_16k": "ESC-50, 16 kHz",
    "fsdd": "digits",
    "arabic_words": "words",
    "arabic_speakers": "speakers",
    "mridangam_stroke": "strokes",
    "mridangam_tonic": "tonic",
    "instrument": "instrument",
    "pitch": "pitch",
}
PUBLISHED = "probe_published"
ACTIVE = ", budget active"
BESIDE = "mn04 as trained beside its controls"


def read(name: str) -> dict[str, Any] | None:
    """A result of `hear-diffres probe`, or None."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def score(result: dict[str, Any] | None, data: str, row: str, classifier: str = "logistic") -> float | None:
    """Mean accuracy on a set, or on `mean`: over all sets."""
    if data == "mean":
        values = [score(result, name, row, classifier) for name in SETS]
        return None if None in values else sum(v for v in values if v is not None) / len(values)
    return _measured(result, data, row, classifier).get("mean")


def _measured(result: dict[str, Any] | None, data: str, row: str, classifier: str) -> dict[str, float]:
    """What a classifier measured of a row on a set; empty where it was not run."""
    return (result or {"results": {}})["results"].get(data, {}).get(row, {}).get(classifier) or {}


def text(value: float | None) -> str:
    """A score, or a dash. Halves go up, as by hand: 0.9725 is no more than 0.9724999... in binary."""
    return "-" if value is None else f"{value + 1e-9:.3f}"


def stamp(result: dict[str, Any], command: str) -> str:
    """What made a table, on what."""
    machine = result["machine"]
    return f"`{command}`: {machine['processor']}, one thread, {machine['date']}, commit {machine['commit']}."


def rates() -> str:
    """Tier by rate: mean over the probe sets, ESC-10 and ESC-50."""
    names = ("mean", "esc10", "esc50_16k")
    head = "".join(f" {title} {rate:.0%} |" for title in ("mean", "ESC-10", "ESC-50") for rate in REDUCTIONS)
    lines = [f"| tier |{head}", "|---" * (1 + 3 * len(REDUCTIONS)) + "|"]
    for name in list_models():
        result = read(f"probe_{name}")
        if result:
            cells = [text(score(result, data, f"{rate:.0%}")) for data in names for rate in REDUCTIONS]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rows() -> list[tuple[str, str, str]]:
    """Title, result and row of the long table."""
    out = [(f"{name}, 50 %", f"probe_{name}", "50%") for name in list_models() if read(f"probe_{name}")]
    out += [("mn04, 75 %", "probe_mn04", "75%"), ("mn04, all frames", "probe_mn04", "0%")]
    for name in list_models():
        if read(f"probe_{name}_block_std"):
            out.append((f"{name}, 50 %, block+block_std+mels", f"probe_{name}_block_std", "50%"))
    for rate in ("50%", "75%"):
        out.append((f"control: mn04's weights, averaging, {rate}", "probe_mn04", f"same weights, averaging, {rate}"))
    # The controls and the mn04 that was trained beside them; what ships has been trained again since.
    out += [(f"{BESIDE}, {rate}", "beside_controls", rate) for rate in ("50%", "75%")]
    for name, title in (("average", "averaging"), ("hop", "longer hop"), ("bands", "fewer mel bands")):
        for rate in ("50%", "75%"):
            if read(f"probe_mn04_{name}"):
                out.append((f"control: mn04 trained with {title}, {rate}", f"probe_mn04_{name}", rate))
    for rate, title in (("0%", "all frames"), ("50%", "DiffRes 50%"), ("75%", "DiffRes 75%")):
        out.append((f"mn04 trained on 64 mel bands, {title}", "probe_mn04_bands_diffres", rate))
    out.append(("control: mn04 untrained, 50 %", "probe_mn04", "untrained, 50%"))
    out.append(("published mn04, all frames", PUBLISHED, "all frames"))
    if read(f"{PUBLISHED}_block_std"):
        out.append(("published mn04, all frames, block+block_std+mels", f"{PUBLISHED}_block_std", "all frames"))
    for rate in ("25%", "50%", "75%"):
        if read("probe_adapter_mn04"):
            out.append((f"published mn04 + adapter, {rate}", "probe_adapter_mn04", rate))
            out.append((f"published mn04 + adapter, budget active, {rate}", "probe_adapter_mn04", f"{rate}{ACTIVE}"))
    for rate in ("50%", "75%"):
        out.append((f"control: published, mel power averaged, {rate}", PUBLISHED, f"mel power averaged, {rate}"))
    return out


def line(title: str, name: str, row: str, classifier: str = "logistic", spreads: bool = False) -> str:
    """A row of a result on every probe set; with `spreads` each with its standard deviation."""
    result = read(name)
    of = [(result, data, row, classifier) for data in ("mean", *SETS)]
    return f"| {title} | " + " | ".join(text(score(*one)) + (spread(*one) if spreads else "") for one in of) + " |"


def spread(result: dict[str, Any] | None, data: str, row: str, classifier: str = "logistic") -> str:
    """` ± ` and the standard deviation over a set's folds or held-out speakers; nothing where there is none."""
    found = _measured(result, data, row, classifier).get("std_over_groups")
    return "" if found is None else f" ± {text(found)}"


def few() -> str:
    """The rows that README shows: the tiers, the published network, and what costs nothing."""
    left_out = ("control: mn04's weights", "mn04 trained on 64", "control: publi", "mn04, 75 %", "mn04, all frames")
    shown = [
        row for row in rows() if not row[0].startswith(left_out) and ("adapter" not in row[0] or "25%" not in row[0])
    ]
    return _sets([row for row in shown if "block_std" not in row[0]])


def sets() -> str:
    """Every row on every probe set, those with HEAR's MLP below."""
    tried = [*rows(), *((f"{name}, 50 %", f"extra/mlp_{name}", "50%") for name in list_models())]
    by_mlp = [row for row in tried if score(read(row[1]), "mean", row[2], "mlp")]
    return _sets(rows(), by_mlp, spreads=True)


def _sets(
    chosen: list[tuple[str, str, str]], by_mlp: Sequence[tuple[str, str, str]] = (), spreads: bool = False
) -> str:
    lines = ["| | mean | " + " | ".join(SETS.values()) + " |", "|---" * (len(SETS) + 2) + "|"]
    lines += [line(*row, spreads=spreads) for row in chosen]
    lines += [line(f"HEAR's MLP: {title}", name, row, "mlp", spreads) for title, name, row in by_mlp]
    return "\n".join([*lines, "", _stamps({name for _, name, _ in [*chosen, *by_mlp]})])


def _stamps(names: Collection[str]) -> str:
    """Where and when these results were measured: days and commits by processor."""
    days: dict[str, dict[str, set[str]]] = {}
    for name in names:
        machine = (read(name) or {})["machine"]
        days.setdefault(machine["processor"], {}).setdefault(machine["date"], set()).add(machine["commit"])
    by_processor = (
        f"{processor}: "
        + ", ".join(f"{day} (commit {', '.join(sorted(commits))})" for day, commits in sorted(of.items()))
        for processor, of in sorted(days.items())
    )
    return "; ".join(by_processor) + "."


def active() -> str:
    """DiffRes's budgets "block" and "active" at half and a quarter of the frames."""
    shown = {data: {"mean": "mean", **SETS}[data] for data in ("mean", "esc10", "esc50_16k", "fsdd", "arabic_words")}
    head = "".join(f" {title} {rate} |" for title in shown.values() for rate in ("50%", "75%"))
    lines = [f"| block / active |{head}", "|---" * (1 + 2 * len(shown)) + "|"]
    names = {f"probe_{name}": name for name in list_models()} | {"probe_adapter_mn04": "published mn04 + adapter"}
    for name, title in names.items():
        result = read(name)
        if score(result, "mean", f"50%{ACTIVE}") is not None:
            cells = [
                " / ".join(text(score(result, data, f"{rate}{budget}")) for budget in ("", ACTIVE))
                for data in shown
                for rate in ("50%", "75%")
            ]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def extra() -> str:
    """What extra teachers bought."""
    titles = {"base": "none", "speaker": "speaker vectors", "f0": "f0", "labels": "labels", "notes": "notes and onsets"}
    lines = ["| extra teacher | mean | " + " | ".join(SETS.values()) + " |", "|---" * (len(SETS) + 2) + "|"]
    for name, title in titles.items():
        result = read(f"extra/{name}")
        pairs = ([score(result, data, rate) for rate in ("0%", "50%")] for data in ("mean", *SETS))
        lines.append(f"| {title} | " + " | ".join(f"{text(a)} / {text(b)}" for a, b in pairs) + " |")
    return "\n".join(lines)


def widened() -> str:
    """The teacher's features in wider networks' channels, beside what those networks make themselves."""
    result = read("widened") or {}
    lines = ["| all frames | mean | " + " | ".join(SETS.values()) + " |", "|---" * (len(SETS) + 2) + "|"]

    def line(title: str, found: dict[str, Any] | None, row: str) -> str:
        return f"| {title} | " + " | ".join(text(score(found, data, row)) for data in ("mean", *SETS)) + " |"

    for row in result["results"]["esc10"]:
        lines.append(line(f"published mn04 {row}" if row.startswith("in ") else "published mn04", result, row))
        tier = row.removeprefix("in ").removesuffix("'s channels")
        if tier in list_models():
            lines.append(line(f"{tier} itself", read(f"probe_{tier}"), "0%"))
    return "\n".join([*lines, "", stamp(result, "python -m benchmarks.widened")])


def int8() -> str:
    """Probes of PyTorch and of exported files, float32 and int8."""
    tiers = [tier for tier in list_models() if read(f"int8_{tier}")]
    names = [name for name in SETS if name in (read("int8_mn04") or {"results": {}})["results"]]
    lines = ["| tier | | " + " | ".join(SETS[name] for name in names) + " |", "|---" * (len(names) + 2) + "|"]
    rows = {"50%": "PyTorch"}
    rows |= {
        f"{kind} {suffix} file, 50%": f"{kind} `{suffix}`"
        for suffix in (".hear", ".onnx")
        for kind in ("float32", "int8")
    }
    for tier in tiers:
        for row, title in rows.items():
            cells = [text(score(read(f"int8_{tier}"), name, row)) for name in names]
            if set(cells) != {"-"}:
                lines.append(f"| {tier} | {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bfloat16() -> str:
    """Probes of the engine in both precisions."""
    lines = ["| half the frames | | mean | " + " | ".join(SETS.values()) + " |", "|---" * (len(SETS) + 3) + "|"]
    for tier in list_models():
        coarse = read(f"extra/bfloat16_{tier}")
        if coarse:
            for kind, found, row in (
                ("float32", read(f"probe_{tier}"), "50%"),
                ("bfloat16", coarse, "50%, bfloat16"),
            ):
                cells = [text(score(found, name, row)) for name in ("mean", *SETS)]
                lines.append(f"| {tier} | {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)

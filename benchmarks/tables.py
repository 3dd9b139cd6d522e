"""Tables of README and docs from the results in benchmarks/results: `python -m benchmarks.tables` writes them in."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from hear_diffres.costs import cost_of
from hear_diffres.registry import REDUCTIONS, get_config, list_models
from hear_diffres.report.rows import Row, read_results
from hear_diffres.weights import shipped

from . import archive, chunks, hear_table, streaming
from .load import note

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


def tiers() -> str:
    """Parameters, cost, size, speed and weights of every tier."""
    speed = json.loads((RESULTS / "speed.json").read_text())
    machine = speed["machine"]
    head = "".join(f" {rate:.0%} |" for rate in REDUCTIONS)
    lines = [f"| tier | parameters | MMAC/s at{head} size | ms, 0 % | ms, 50 % | ms, 75 % | weights |"]
    lines.append("|---" * (lines[0].count("|") - 1) + "|")
    for name in list_models():
        cost = cost_of(get_config(name))
        macs = " | ".join(f"{value / 1e6:.1f}" for value in cost.macs.values())
        rows = [speed["engine"][f"{name}, {rate} removed"] for rate in ("0%", "50%", "75%")]
        times = [sum(stage["median"] for stage in row.values()) for row in rows]
        cells = [name, f"{cost.parameters / 1e6:.2f} M", macs, cost.embedding_sizes["block+mels"]]
        cells += [*(f"{t:.2f}" for t in times), "yes" if shipped(name) else "none yet"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    busy = note(speed.get("runs", {}), ("engine",))
    lines.append("")
    lines.append(f"{machine['processor']}, {machine['date']}, commit {machine['commit']}{busy and '; ' + busy}.")
    return "\n".join(lines)


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
    left_out = ("control: mn04's weights", "mn04 trained on 64", "control: publi", "published mn04 + adapter, 25")
    return _sets([row for row in rows() if not row[0].startswith(left_out)])


def sets() -> str:
    """Every row on every probe set, those with HEAR's MLP below."""
    by_mlp = [
        line(f"HEAR's MLP: {t}", name, row, "mlp", True)
        for t, name, row in rows()
        if score(read(name), "mean", row, "mlp")
    ]
    return _sets(rows(), by_mlp, spreads=True)


def _sets(chosen: list[tuple[str, str, str]], more: Sequence[str] = (), spreads: bool = False) -> str:
    lines = ["| | mean | " + " | ".join(SETS.values()) + " |", "|---" * (len(SETS) + 2) + "|"]
    lines += [line(title, name, row, spreads=spreads) for title, name, row in chosen]
    return "\n".join([*lines, *more, "", _stamps({name for _, name, _ in chosen})])


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


def hear() -> str:
    """Rates by tier, on HEAR's protocol."""
    return _hear("hear", hear_table.rates)


def hear_embeddings() -> str:
    """Embeddings by tier, on HEAR's protocol."""
    return _hear("extra/hear_embeddings", hear_table.embeddings)


def _hear(name: str, table: Callable[[Sequence[Row]], str]) -> str:
    machine = (read(name) or {})["machine"]
    made = f"{machine['processor']}, {machine['cores']} cores, {machine['date']}, commit {machine['commit']}"
    rows = read_results([RESULTS / f"{name}.json"])
    return "\n".join([table(rows), "", f"`python -m benchmarks.hear_results`: {made}."])


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


def evaluators() -> str:
    """Our evaluator beside heareval."""
    result = read("evaluators") or {}
    lines = ["| task | grid, points | metric | ours | heareval | seconds | heareval | times |", "|---" * 8 + "|"]
    for task, row in result["tasks"].items():
        for metric in row["ours"]["scores"]:
            if metric == next(iter(row["ours"]["scores"])):
                head = f"{task} | {row['grid']}, {row['points']}"
                times = f"{row['ours']['seconds']:.1f} | {row['heareval']['seconds']:.1f} | {row['times faster']:.1f}"
            else:
                head, times = " | ", " | | "
            both = (row[name]["scores"][metric] for name in ("ours", "heareval"))
            cells = (
                "-" if score["mean"] == float("inf") else f"{score['mean']:.3f} ± {score['std']:.3f}" for score in both
            )
            lines.append(f"| {head} | {metric} | {' | '.join(cells)} | {times} |")
    machine = result["machine"]
    seeds = {row["seeds"] for row in result["tasks"].values()}
    machine_text = f"{machine['processor']}, {machine['cores']} cores, {machine['date']}, commit {machine['commit']}"
    lines += ["", f"Mean ± standard deviation over {min(seeds)} seeds; {machine_text}."]
    return "\n".join(lines)


def frontends() -> str:
    """Size and cost of every front end."""
    result = read("frontends") or {}
    lines = ["| front end | bands | parameters | MMAC/s | time, log-mel = 1 | with gradients |", "|---" * 6 + "|"]
    first = result["frontends"]["logmel"]
    for name, row in result["frontends"].items():
        times = (row[key] / first[key] for key in ("ms", "ms_with_gradients"))
        lines.append(
            f"| {name} | {row['bands']} | {row['parameters']} | {row['macs_per_second'] / 1e6:.2f} | "
            + " | ".join(f"{time:.2f}" for time in times)
            + " |"
        )
    return "\n".join([*lines, "", stamp(result, "python -m benchmarks.frontends")])


def compressors() -> str:
    """Size and cost of every compressor."""
    result = read("compressors") or {}
    lines = ["| compressor | parameters | MMAC/s | of 1000 x 128 | time, DiffRes = 1 |", "|---" * 5 + "|"]
    for name, row in result["compressors"].items():
        lines.append(
            f"| {name} | {row['parameters']:,} | {row['macs_per_second'] / 1e6:.2f} | {row['bins']} x {row['bands']}"
            f" | {row['of_diffres']:.2f} |"
        )
    return "\n".join([*lines, "", stamp(result, "python -m benchmarks.compressors")])


def stream() -> str:
    """A day through a Streamer."""
    runs = (read("streaming") or {})["runs"]
    stamps = [
        stamp(run, f"python -m benchmarks.streaming --hours {run['hours']:g} --chunk-seconds {run['chunk_seconds']:g}")
        for run in runs
    ]
    return "\n".join([streaming.table(runs), "", *stamps])


def chunk_costs() -> str:
    """Shorter chunks against those of 10 s."""
    result = read("chunks") or {}
    table = chunks.table(result["similarity"], {SETS[name]: rows for name, rows in result["probes"].items()})
    return "\n".join([table, "", stamp(result, f"python -m benchmarks.chunks --model {result['model']} --set ...")])


def reading_ahead() -> str:
    """`embed` with and without threads that decode."""
    result = read("archive") or {}
    machine = result["machine"]
    made = f"{machine['processor']}, {machine['cores']} cores, {machine['date']}, commit {machine['commit']}"
    command = f"python -m benchmarks.archive --threads {' '.join(map(str, result['threads']))}"
    text = f"`{command}`: {result['model']}, 75 % removed; {made}."
    return "\n".join([archive.table(result["rows"]), "", text])


def stamp(result: dict[str, Any], command: str) -> str:
    """What made a table, on what."""
    machine = result["machine"]
    return f"`{command}`: {machine['processor']}, one thread, {machine['date']}, commit {machine['commit']}."


def exported() -> str:
    """Time of exported files beside PyTorch's, and their sizes."""
    from .export import table

    result = read("export") or {}
    return "\n".join([table(result["export"]), "", stamp(result, "python -m benchmarks.export")])


def parity() -> str:
    """Largest differences of exported files."""
    from .export_parity import table

    result = read("export_parity") or {}
    return "\n".join(
        [table(result["parity"], result["float64"]), "", stamp(result, "python -m benchmarks.export_parity")]
    )


def stft() -> str:
    """Ways to log-mel in a graph."""
    from .export_stft import table

    result = read("export_stft") or {}
    return "\n".join([table(result["stft"]), "", stamp(result, "python -m benchmarks.export_stft")])


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


def precision() -> str:
    """Time in bfloat16, in PyTorch and in the engine."""
    from .precision import table

    result = read("precision") or {}
    return "\n".join([table(result["precision"]), "", stamp(result, "python -m benchmarks.precision")])


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


def fill(page: str, mark: str, table: str) -> str:
    """Replace what stands between `<!-- mark -->` and `<!-- /mark -->`."""
    before, rest = page.split(f"<!-- {mark} -->", 1)
    after = rest.split(f"<!-- /{mark} -->", 1)[1]
    return f"{before}<!-- {mark} -->\n{table}\n<!-- /{mark} -->{after}"


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"tiers": tiers, "rates": rates, "few": few},
    "docs/results.md": {"sets": sets, "hear": hear, "hear embeddings": hear_embeddings},
    "docs/hear.md": {"evaluators": evaluators},
    "docs/export.md": {
        "exported": exported,
        "parity": parity,
        "int8": int8,
        "stft": stft,
        "precision": precision,
        "bfloat16": bfloat16,
    },
    "docs/training.md": {"extra": extra, "widened": widened},
    "docs/streaming.md": {"stream": stream, "chunks": chunk_costs, "archive": reading_ahead},
    "docs/frontends.md": {"frontends": frontends, "compressors": compressors},
}


def filled(path: str) -> str:
    """A page with its tables as the results have them."""
    page = (ROOT / path).read_text()
    for mark, table in PAGES[path].items():
        page = fill(page, mark, table())
    return page


if __name__ == "__main__":
    for name in PAGES:
        (ROOT / name).write_text(filled(name))

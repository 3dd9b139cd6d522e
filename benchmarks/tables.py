"""Tables of README and docs from the results in benchmarks/results: `python -m benchmarks.tables` writes them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hear_diffres.costs import cost_of
from hear_diffres.registry import REDUCTIONS, get_config, list_models
from hear_diffres.report.rows import Row, read_results
from hear_diffres.weights import shipped

from . import archive, chunks, hear_table, reference, streaming
from .command import no_options
from .load import note
from .probe_tables import RESULTS, ROOT, SETS, active, bfloat16, extra, few, int8, rates, read, sets, stamp, widened


def tiers() -> str:
    """Parameters, cost, size, speed and weights of every tier."""
    speed = read("speed") or {}
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
    return "\n".join([*lines, "", _made(speed, "engine")])


def wrapper() -> str:
    """How many times as fast as EfficientAT_HEAR's wrapper every tier is, on one thread."""
    speed = read("speed") or {}
    columns = [(key, rough, rate) for key in ("scenes", "timestamps") for rough in (False, True) for rate in (0.0, 0.5)]
    lines = ["| tier | scene, 0 % | 50 % | bfloat16, 0 % | 50 % | timestamps, 0 % | 50 % | bfloat16, 0 % | 50 % |"]
    lines.append("|---" * 9 + "|")
    found = [reference.ratios(speed[key], rate, rough) for key, rough, rate in columns]
    for name in list_models():
        row = reference.row_name(name, 1)
        if row in found[0]:
            ratios = (by_row[row][1] if row in by_row else None for by_row in found)
            cells = ("-" if x is None else f"{x:.1f}" if x < 100 else f"{x:.0f}" for x in ratios)
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _made(speed, "scenes", "timestamps")])


def _made(speed: dict[str, Any], *sections: str) -> str:
    """Machine, date and commit of a section of `python -m benchmarks.run`, and whether the machine was busy."""
    made, busy = speed["runs"][sections[0]], note(speed["runs"], sections)
    return f"{speed['machine']['processor']}, {made['date']}, commit {made['commit']}{busy and '; ' + busy}."


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
        stamp(
            run,
            f"python -m benchmarks.streaming --hours {run['hours']:g} --chunk-seconds {run['chunk_seconds']:g}"
            + " --runtime torch" * (run["runtime"] == "torch"),
        )
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
    text = f"`{command}`: {result['model']}, 75 % removed, runtime {result['rows'][0]['runtime']}; {made}."
    return "\n".join([archive.table(result["rows"]), "", text])


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


def precision() -> str:
    """Time in bfloat16, in PyTorch and in the engine."""
    from .precision import table

    result = read("precision") or {}
    return "\n".join([table(result["precision"]), "", stamp(result, "python -m benchmarks.precision")])


def fill(page: str, mark: str, table: str) -> str:
    """Replace what stands between `<!-- mark -->` and `<!-- /mark -->`."""
    before, rest = page.split(f"<!-- {mark} -->", 1)
    after = rest.split(f"<!-- /{mark} -->", 1)[1]
    return f"{before}<!-- {mark} -->\n{table}\n<!-- /{mark} -->{after}"


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"tiers": tiers, "wrapper": wrapper, "rates": rates, "few": few},
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
    "docs/training.md": {"active": active, "extra": extra, "widened": widened},
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
    no_options(__doc__)
    for name in PAGES:
        (ROOT / name).write_text(filled(name))

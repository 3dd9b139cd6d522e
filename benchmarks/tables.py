"""The README's tables from the results in benchmarks/results: `python -m benchmarks.tables` writes them into it."""

from __future__ import annotations

import json
from pathlib import Path

from hear_diffres.costs import cost_of
from hear_diffres.registry import REDUCTIONS, get_config, list_models
from hear_diffres.weights import shipped

RESULTS = Path(__file__).resolve().parent / "results"


def tiers() -> str:
    """Parameters, cost, size, speed and weights of every tier."""
    speed = json.loads((RESULTS / "speed.json").read_text())
    machine = speed["machine"]
    head = "".join(f" {rate:.0%} |" for rate in REDUCTIONS)
    lines = [
        f"| tier | parameters | MMAC/s at{head} size | ms, 0 % | ms, 50 % | ms, 75 % | ESC-10, 50 % | weights |",
    ]
    lines.append("|---" * (lines[0].count("|") - 1) + "|")
    for name in list_models():
        cost = cost_of(get_config(name))
        macs = " | ".join(f"{value / 1e6:.1f}" for value in cost.macs.values())
        times = [speed["stages"][f"{name}, {rate} removed"]["all, from samples"] for rate in ("0%", "50%", "75%")]
        result = RESULTS / f"esc10_{name}.json"
        score = "-"
        if result.exists():
            scores = json.loads(result.read_text())["accuracy"]
            score = f"{scores[f'{name}, 50% of frames removed, block budget']['mean']:.3f}"
        cells = [name, f"{cost.parameters / 1e6:.2f} M", macs, cost.embedding_sizes["block+mels"]]
        cells += [*(f"{t:.2f}" for t in times), score, "yes" if shipped(name) else "none yet"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines.append("")
    lines.append(f"{machine['processor']}, {machine['date']}, commit {machine['commit']}.")
    return "\n".join(lines)


def scores(name: str) -> str:
    """Probe results of a tier, a column per data set."""
    columns = {}
    for path in sorted(RESULTS.glob(f"*_{name}.json")):
        columns[path.stem.removesuffix(f"_{name}")] = json.loads(path.read_text())
    rows = list(next(iter(columns.values()))["accuracy"])
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        values = [column["accuracy"].get(row) for column in columns.values()]
        lines.append(
            f"| {row} | "
            + " | ".join(f"{v['mean']:.3f} ± {v['std_over_folds']:.3f}" if v else "-" for v in values)
            + " |"
        )
    machine = next(iter(columns.values()))["machine"]
    lines += ["", f"± is over folds. {machine['date']}, commit {machine['commit']}."]
    return "\n".join(lines)


def fill(text: str, mark: str, table: str) -> str:
    """Replace what stands between `<!-- mark -->` and `<!-- /mark -->`."""
    before, rest = text.split(f"<!-- {mark} -->", 1)
    after = rest.split(f"<!-- /{mark} -->", 1)[1]
    return f"{before}<!-- {mark} -->\n{table}\n<!-- /{mark} -->{after}"


if __name__ == "__main__":
    readme = RESULTS.parents[1] / "README.md"
    text = fill(readme.read_text(), "tiers", tiers())
    for name in list_models():
        if f"<!-- scores {name} -->" in text:
            text = fill(text, f"scores {name}", scores(name))
    readme.write_text(text)

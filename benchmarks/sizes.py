"""Install size: bytes on disk of the package and of everything it depends on, as the installed metadata lists them.

    python -m benchmarks.sizes

Byte code is left out. PyTorch's size is that of the build installed here; the page names it.
"""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from .command import no_options
from .packages import PACKAGES

OURS = "hear-diffres"
RUNTIMES = ("hear-diffres-runtime", "onnxruntime", "openvino")  # what exported files need


def dependencies(name: str, extra: str = "") -> dict[str, Distribution]:
    """Distributions that `name` needs, itself included, by name; those not installed are left out."""
    from packaging.requirements import Requirement

    found: dict[str, Distribution] = {}
    waiting = [(name, extra)]
    while waiting:
        current, wanted = waiting.pop()
        try:
            dist = distribution(current)
        except PackageNotFoundError:
            continue
        key = dist.metadata["Name"].lower().replace("_", "-")
        if key in found and not wanted:
            continue
        found[key] = dist
        for line in dist.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": wanted}):
                waiting.append((requirement.name, ""))
    return found


def size(dist: Distribution) -> int:
    """Bytes of its files."""
    paths = (Path(str(dist.locate_file(file))) for file in dist.files or ())
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file())


def own_size() -> int:
    """Bytes of our package, with configurations and weights, however it is installed."""
    from hear_diffres.resources import resource_folder

    spec = find_spec("hear_diffres")
    folders = [*(spec.submodule_search_locations or ()), *map(resource_folder, ("configs", "weights"))] if spec else []
    # Installed from a wheel, the latter two lie within the first.
    files = {path.resolve() for folder in folders for path in Path(folder).rglob("*") if path.suffix != ".pyc"}
    return sum(path.stat().st_size for path in files if path.is_file())


def run() -> dict[str, dict[str, int]]:
    """What is installed to each package's size, largest first; "total" holds the sum."""
    roots = (
        {OURS: OURS}
        | {name: name for name in RUNTIMES if dependencies(name)}
        | {peer.packages[0]: peer.packages[0] for peer in PACKAGES if not peer.missing}
    )
    results = {}
    for title, root in roots.items():
        sizes = {name: size(dist) for name, dist in dependencies(root).items()}
        if root == OURS:
            sizes[OURS] = own_size()
        ordered = dict(sorted(sizes.items(), key=lambda item: -item[1]))
        results[title] = {"total": sum(sizes.values())} | ordered
    return results


def table(results: dict[str, dict[str, int]], shown: int = 6) -> str:
    """One row per package: the whole, itself, and its largest dependencies."""
    lines = ["| package | with dependencies, MB | itself, MB | largest dependencies, MB |", "|---|---|---|---|"]
    for name, sizes in results.items():
        rest = [(key, value) for key, value in sizes.items() if key not in ("total", name)]
        largest = ", ".join(f"{key} {value / 1e6:.1f}" for key, value in rest[:shown])
        lines.append(f"| {name} | {sizes['total'] / 1e6:,.1f} | {sizes.get(name, 0) / 1e6:.1f} | {largest} |")
    return "\n".join(lines)


if __name__ == "__main__":
    no_options(__doc__)
    print(table(run()))

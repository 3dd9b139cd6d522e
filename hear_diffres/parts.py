"""A Parquet table written in parts that survive a kill, and put together at the end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Set
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_FLUSH_VALUES = 8_000_000  # floats held before a part is written: 32 MB
_FLUSH_SECONDS = 5.0  # a kill loses at most this much finished work


class PartWriter:
    """Collects rows per file, writes them as parts, and joins them into `out`.

    A part's metadata lists the files it finishes. A long file may fill several parts before its end; those are
    named `open-*` and count only once the part that finishes the file refers to them.

    Args:
        out: the table to be.
        dim: length of an embedding.
        metadata: provenance, stored in the schema of every part and of the table.

    Attributes:
        finished: files that earlier runs finished, and the state each was in.

    Raises:
        ValueError: the folder of parts was left by a run with other provenance, or its name is taken.
    """

    def __init__(self, out: Path, dim: int, metadata: dict[str, str]):
        self.out, self.metadata = out, metadata
        self.folder = out.with_name(out.name + ".parts")
        self.schema = pa.schema(
            [
                ("file", pa.string()),
                ("start_s", pa.float64()),
                ("end_s", pa.float64()),
                ("embedding", pa.list_(pa.float32(), dim)),
            ],
            metadata=metadata,
        )
        self.dim = dim
        self.finished: dict[str, str] = {}
        self._rows: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]] = []
        self._done: dict[str, str] = {}
        self._open: dict[str, list[str]] = {}
        self._counter = 0
        self._flushed = time.monotonic()
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"{self.folder} is in the way: parts are written into a folder of that name")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self.folder.exists():
            self._flush()  # an interrupted run keeps what it finished

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    def _resume(self) -> None:
        for path in self.folder.glob("*.tmp"):  # cut off while it was written
            path.unlink()
        referred: set[str] = set()
        for path in self._parts():
            stored = {k.decode(): v.decode() for k, v in (pq.read_schema(path).metadata or {}).items()}
            note = json.loads(stored.pop("_part"))
            stored.pop("ARROW:schema", None)
            if stored != self.metadata:
                keys = stored.keys() | self.metadata.keys()
                changed = sorted(k for k in keys if stored.get(k) != self.metadata.get(k))
                raise ValueError(
                    f"{self.folder} holds parts of an unfinished run with other {', '.join(changed)}: "
                    "finish it with the same options, or delete that folder"
                )
            self.finished.update(_states(note))
            referred.update(note["opened"])
            self._counter = max(self._counter, int(path.stem.split("-")[1]))
        for path in self._parts():
            if path.name.startswith("open-") and path.name not in referred:
                path.unlink()  # rows of a file that was cut off

    def add(self, file: str, start_s: np.ndarray, end_s: np.ndarray, embedding: np.ndarray) -> None:
        """Rows of `file`: `[n]`, `[n]` and `[n, dim]`."""
        self._rows.append((file, start_s, end_s, embedding))
        if sum(row[3].size for row in self._rows) >= _FLUSH_VALUES:
            self._flush()

    def finish(self, file: str, state: str = "") -> None:
        """All rows of `file`, which was in this state, have been added."""
        self._done[file] = state
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._flush()

    def forget(self, files: Set[str]) -> None:
        """Drop what earlier runs finished of these."""
        for path in self._parts() if files else ():
            table = pq.read_table(path)
            keep = pc.invert(pc.is_in(table["file"], pa.array(sorted(files), pa.string())))
            note = json.loads(table.schema.metadata[b"_part"])
            left = {name: state for name, state in _states(note).items() if name not in files}
            if len(left) < len(note["finished"]) or not pc.all(keep, min_count=0).as_py():
                self._save(path.name, table.filter(keep), {**note, "finished": left})
        self.finished = {name: state for name, state in self.finished.items() if name not in files}

    def abandon(self, file: str) -> None:
        """Forget what was added of `file`."""
        self._rows = [row for row in self._rows if row[0] != file]
        for name in self._open.pop(file, []):
            (self.folder / name).unlink()

    def _flush(self) -> None:
        complete = [row for row in self._rows if row[0] in self._done]
        rest: dict[str, list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]] = {}
        for row in self._rows:
            if row[0] not in self._done:
                rest.setdefault(row[0], []).append(row)
        if self._done:
            opened = [name for file in self._done for name in self._open.pop(file, [])]
            self._write("part", complete, self._done, opened)
        for file, rows in rest.items():
            self._open.setdefault(file, []).append(self._write("open", rows, {}, []))
        self._rows, self._done, self._flushed = [], {}, time.monotonic()

    def _write(
        self,
        kind: str,
        rows: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]],
        done: dict[str, str],
        opened: list[str],
    ) -> str:
        self._counter += 1
        name = f"{kind}-{self._counter:08d}.parquet"
        self._save(name, self._table(rows), {"finished": done, "opened": opened})
        return name

    def _save(self, name: str, table: pa.Table, note: dict[str, Any]) -> None:
        part = self.folder / (name + ".tmp")
        pq.write_table(table.replace_schema_metadata({**self.metadata, "_part": json.dumps(note)}), part)
        os.replace(part, self.folder / name)

    def _table(self, rows: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]) -> pa.Table:
        files = [file for file, start, _, _ in rows for _ in range(len(start))]
        empty = [np.zeros(0)]
        flat = np.concatenate([r[3].reshape(-1) for r in rows] or empty).astype(np.float32)
        columns = [
            pa.array(files, pa.string()),
            pa.array(np.concatenate([r[1] for r in rows] or empty), pa.float64()),
            pa.array(np.concatenate([r[2] for r in rows] or empty), pa.float64()),
            pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), self.dim),
        ]
        return pa.table(columns, schema=self.schema)

    def close(self) -> int:
        """Join the parts into the table and remove them; returns the number of rows."""
        self._flush()
        rows = 0
        temporary = self.out.with_name(self.out.name + ".tmp")
        # Parts in order of their number, whichever kind, keep a long file's rows together and in order.
        ordered = sorted(self._parts(), key=lambda p: int(p.stem.split("-")[1]))
        with pq.ParquetWriter(temporary, self.schema) as writer:
            for path in ordered:
                for batch in pq.ParquetFile(path).iter_batches(batch_size=16_384):
                    rows += batch.num_rows
                    table = pa.Table.from_batches([batch]).replace_schema_metadata(self.metadata)
                    writer.write_table(table)
        os.replace(temporary, self.out)
        for path in ordered:
            path.unlink()
        self.folder.rmdir()
        return rows


def _states(note: dict[str, Any]) -> dict[str, str]:
    """Files that a part finishes, and their states; parts of before 2026-11-27 know none."""
    finished = note["finished"]
    return finished if isinstance(finished, dict) else dict.fromkeys(finished, "")

"""Files read by worker threads ahead of whoever needs their content, in order and in bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Generic, TypeVar

Piece = TypeVar("Piece")


class _File(Generic[Piece]):
    """Pieces read of a file and not taken yet.

    Attributes:
        waiting: their weight.
        ended: there will be no more: all were read, `error` came up, or nobody wants them.
    """

    def __init__(self) -> None:
        self.pieces: deque[Piece] = deque()
        self.waiting = 0.0
        self.ended = False
        self.error: BaseException | None = None


class ReadAhead(Generic[Piece]):
    """Iterates over the pieces of files, file after file, while threads read on.

    Threads take the files in their order, each reading one at a time, and pause where the pieces that wait would weigh
    more than `limit`. For the file being taken only its own count: files behind it never hold it up, so the order of
    events does not matter. What a file's reading raises is raised where its pieces are taken, after those before the
    fault.

    Args:
        names: the files.
        read: gives a file's pieces; runs in the threads, so it should spend its time where Python lets others run
            (soundfile and soxr do).
        weight: of a piece.
        limit: see above; at most twice as much waits, and each thread holds one piece more.
        workers: threads; 0 reads in the caller's own, nothing ahead.

    Use it as a context manager: the threads end with it.
    """

    def __init__(
        self,
        names: Sequence[str],
        read: Callable[[str], Iterator[Piece]],
        weight: Callable[[Piece], float],
        limit: float,
        workers: int,
    ):
        self.names, self.read, self.weight, self.limit, self.workers = names, read, weight, limit, workers
        self._files: dict[int, _File[Piece]] = {}
        self._next = 0  # file that a thread takes next
        self._current = 0  # file whose pieces are being taken
        self._stopped = False
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> ReadAhead[Piece]:
        for _ in range(min(self.workers, len(self.names))):
            thread = threading.Thread(target=self._work, name="read-ahead", daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Iterator[Piece]]:
        """One iterator of pieces per file; what is left of one is dropped when the next is asked for."""
        for index, name in enumerate(self.names):
            if not self.workers:
                yield self.read(name)
                continue
            with self._changed:
                self._current = index
                file = self._files.setdefault(index, _File())
                self._changed.notify_all()
            yield self._pieces(file)
            with self._changed:
                del self._files[index]
                file.ended = True
                self._next = max(self._next, index + 1)  # given up before any thread had taken it
                self._changed.notify_all()

    def _pieces(self, file: _File[Piece]) -> Iterator[Piece]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: file.pieces or file.ended)
                if not file.pieces:
                    break
                piece = file.pieces.popleft()
                file.waiting -= self.weight(piece)
                self._changed.notify_all()
            yield piece
        if file.error is not None:
            raise file.error

    def _work(self) -> None:
        while True:
            with self._changed:
                index = self._next
                if self._stopped or index >= len(self.names):
                    return
                self._next += 1
                file = self._files.setdefault(index, _File())
            try:
                for piece in self.read(self.names[index]):
                    if not self._put(index, file, piece):
                        break
            except BaseException as error:  # raised again in the caller's thread
                file.error = error
            with self._changed:
                file.ended = True
                self._changed.notify_all()

    def _put(self, index: int, file: _File[Piece], piece: Piece) -> bool:
        """Hand a piece over when there is room; False where nobody wants it any more."""
        weight = self.weight(piece)

        def unwanted() -> bool:
            return self._stopped or file.ended

        def room() -> bool:
            if index == self._current:
                return not file.pieces or file.waiting + weight <= self.limit
            return sum(other.waiting for other in self._files.values()) + weight <= self.limit

        with self._changed:
            self._changed.wait_for(lambda: unwanted() or room())
            if unwanted():
                return False
            file.waiting += weight
            file.pieces.append(piece)
            self._changed.notify_all()
        return True

"""Reading ahead: order, bounds, faults, and an end in the middle."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.readahead import ReadAhead

FILES = st.lists(st.integers(0, 6), max_size=8)


def names(counts: list[int]) -> list[str]:
    return [f"{index}:{count}" for index, count in enumerate(counts)]


def read(name: str) -> Iterator[tuple[str, int]]:
    for k in range(int(name.split(":")[1])):
        time.sleep(random.random() * 1e-3)
        yield name, k


@given(FILES, st.integers(0, 4), st.sampled_from([0.5, 1, 3, 100]))
def test_pieces_come_in_order_whoever_reads_them(counts, workers, limit):
    with ReadAhead(names(counts), read, lambda piece: 1.0, limit, workers) as ahead:
        got = [list(pieces) for pieces in ahead]
    assert got == [list(read(name)) for name in names(counts)]
    assert not any(t.name == "read-ahead" for t in threading.enumerate())


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_is_read_than_the_limits_say(workers):
    taken, made = 0, 0
    most, lock = 0, threading.Lock()

    def endless(name: str) -> Iterator[int]:
        nonlocal made, most
        for k in range(200):
            with lock:
                made += 1
                most = max(most, made - taken)
            yield k

    with ReadAhead(names([0] * 5), endless, lambda piece: 1.0, 10, workers) as ahead:
        for pieces in ahead:
            for _ in pieces:
                with lock:
                    taken += 1
    assert made == taken == 1000
    assert 10 <= most <= 2 * 10 + workers + 1


def test_a_file_in_use_is_read_ahead_while_others_fill_the_limit():
    """Otherwise the reader of a long file would wait for the network whenever another file lies ready behind it."""
    first = threading.Event()

    def reader(name: str) -> Iterator[int]:
        if name.startswith("0"):
            first.wait(10)  # the second file is there before
        yield from range(int(name.split(":")[1]))

    with ReadAhead(["0:100", "1:100"], reader, lambda piece: 1.0, 10, 2) as ahead:
        pieces = next(iter(ahead))
        while ahead._files.get(1) is None or ahead._files[1].waiting < 10:
            time.sleep(1e-3)
        first.set()
        assert next(pieces) == 0
        deadline = time.monotonic() + 10
        while ahead._files[0].waiting < 10 and time.monotonic() < deadline:
            time.sleep(1e-3)
        assert ahead._files[0].waiting == 10


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_fault_is_raised_where_it_lies(workers):
    def faulty(name: str) -> Iterator[int]:
        yield from range(2)
        if name == "1:0":
            raise KeyError(name)

    got: list[object] = []
    with ReadAhead(names([0, 0, 0]), faulty, lambda piece: 1.0, 2, workers) as ahead:
        for pieces in ahead:
            try:
                got.extend(pieces)
            except KeyError as error:
                got.append(error.args[0])
    assert got == [0, 1, 0, 1, "1:0", 0, 1]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_file_given_up_does_not_hold_up_the_next(workers):
    with ReadAhead(names([50, 50, 3]), read, lambda piece: 1.0, 2, workers) as ahead:
        assert [next(pieces) for pieces in ahead] == [(name, 0) for name in names([50, 50, 3])]


def test_a_file_given_up_before_it_was_begun_is_not_read():
    begun, go_on = [], threading.Event()

    def reader(name):
        begun.append(name)
        go_on.wait(10)  # nobody takes the second file while it is the current one
        return read(name)

    with ReadAhead(names([1, 50, 50]), reader, lambda piece: 1.0, 2, 1) as ahead:
        files = iter(ahead)
        next(files), next(files)
        third = next(files)
        go_on.set()
        assert len(list(third)) == 50
    assert begun == names([1, 50, 50])[::2]


def test_leaving_ends_the_threads():
    closed = []

    def endless(name: str) -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.append(name)

    with pytest.raises(KeyboardInterrupt), ReadAhead(names([0, 0]), endless, lambda piece: 1.0, 5, 2) as ahead:
        next(next(iter(ahead)))
        raise KeyboardInterrupt
    assert sorted(closed) == names([0, 0]) and not any(thread.is_alive() for thread in ahead._threads)

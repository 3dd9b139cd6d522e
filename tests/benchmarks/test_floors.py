"""Work is counted as it is, and floors follow from it."""

from __future__ import annotations

import doctest

import pytest
import torch

from benchmarks import counting, load, peaks
from benchmarks.counting import Work, count, total
from benchmarks.floors import Task, fft_macs, stages
from benchmarks.peaks import Peaks
from hear_diffres.registry import build_backbone, get_config

PEAKS = Peaks(1e9, {"L2": 8e9, "L3": 4e9, "memory": 1e9}, {"L2": 1000, "L3": 10_000})


def test_examples():
    assert doctest.testmod(counting).failed == doctest.testmod(load).failed == 0


def test_products_are_counted_with_their_bytes():
    a, b = torch.zeros(3, 5), torch.zeros(5, 7)
    assert count(lambda: (a @ b).relu() + 1) == [Work(105, 4 * (15 + 35 + 21))]
    x, w = torch.zeros(1, 8, 6, 6), torch.zeros(8, 1, 3, 3)
    assert count(lambda: torch.nn.functional.conv2d(x, w, padding=1, groups=8))[0].macs == 8 * 9 * 36
    q = torch.zeros(1, 2, 10, 4)
    with torch.inference_mode():
        attention = count(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q))
    assert total(attention).macs == 2 * 2 * 10 * 10 * 4


def test_a_floor_is_the_larger_of_the_two():
    assert Task(Work(1e6, 10)).floor(PEAKS) == pytest.approx(1e-3)
    assert Task(Work(10, 800)).floor(PEAKS) == pytest.approx(1e-7)
    assert Task(Work(10, 1e6)).floor(PEAKS) == pytest.approx(1e-3)
    layers = (Work(1e6, 900), Work(0, 8_000))
    task = Task(total(layers), layers)
    assert task.floor(PEAKS) == pytest.approx(1e-3)  # products alone
    assert task.floor_by_layers(PEAKS) == pytest.approx(1e-3 + 2e-6)  # then the second layer's bytes, in L3


def test_the_backbone_is_counted_as_it_counts_itself():
    backbone = build_backbone(get_config("mn04"), 3)
    counted = stages("mn04", 0.0, 10)["backbone"].work.macs
    assert 0.95 * backbone.macs(128, 1000) < counted < backbone.macs(128, 1000)  # all but the last layer and the head


def test_stages_grow_with_the_batch_and_shrink_with_the_rate():
    one, two, half = stages("mn01", 0.0, 1), stages("mn01", 0.0, 1, batch=2), stages("mn01", 0.5, 1)
    assert list(one) == ["check", "STFT", "mel", "DiffRes", "backbone", "embedding"]
    assert two["STFT"].work.macs == 2 * one["STFT"].work.macs and half["STFT"] == one["STFT"]
    assert half["backbone"].work.macs < 0.6 * one["backbone"].work.macs
    assert one["DiffRes"].work.macs == 0 < half["DiffRes"].work.macs
    assert fft_macs(1024) == 5120


def test_peaks_have_every_level():
    results = peaks.run(quick=True)
    best = Peaks.of(results, 2)
    assert set(best.bandwidth) == {"L2", "L3", "memory"} and min(best.macs, *best.bandwidth.values()) > 0
    assert best.caches["L2"] < best.caches["L3"] and best.level(2**40) == "memory" and best.level(1) == "L2"
    assert peaks.table(results).count("\n") == 3

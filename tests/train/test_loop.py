"""The loop of training: what is there whenever it is killed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hear_diffres.errors import WeightsError
from hear_diffres.train.loop import Loop, _Log, read_log


def make_loop(run, clips=4, plan=None):
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    return Loop(
        run, "stage", network, nn.Identity(), clips=clips, lr=1e-2, schedule=lambda _: 1.0, weight_decay=0.0, ema=0.9,
        clip_norm=None, device=torch.device("cpu"), plan=plan,
    )  # fmt: skip


def go_on(loop, on_save=None):
    def losses(batch):
        total = loop.network(batch["mel"]).square().mean()
        return total, {"error": total}

    batches = ({"step": step, "mel": torch.full((2, 3), 1.0 + step)} for step in range(loop.step, 100))
    return loop.train(batches, losses, on_save=on_save)


def test_a_run_killed_as_its_last_weights_are_written_writes_them_next_time(tmp_path):
    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go_on(make_loop(tmp_path), killed)
    written = []
    loop = make_loop(tmp_path)
    assert go_on(loop, lambda: written.append(loop.clips)) and written == [4]


def test_damaged_checkpoints_are_named(tmp_path):
    assert go_on(make_loop(tmp_path))
    path = tmp_path / "stage.pt"
    whole = path.read_bytes()
    for content in (b"", b"x", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"stage\.pt: not a readable checkpoint"):
            make_loop(tmp_path)
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="not a checkpoint of training"):
        make_loop(tmp_path)


def test_a_run_goes_on_on_another_device(tmp_path, monkeypatch):
    go_on(make_loop(tmp_path))
    network = nn.Linear(3, 2, device="meta")
    monkeypatch.setattr(network, "load_state_dict", lambda state: None)  # nothing can be copied on to this device
    loop = Loop(
        tmp_path, "stage", network, nn.Identity(), clips=8, lr=1e-2, schedule=lambda _: 1.0, weight_decay=0.0, ema=0.9,
        clip_norm=None, device=torch.device("meta"),
    )  # fmt: skip
    assert {value.device.type for value in loop.average.state.values()} == {"meta"}
    for state in loop.optimiser.state.values():  # AdamW reads its counts one by one: a wait each, on a GPU
        assert state["step"].device.type == "cpu" and state["exp_avg"].device.type == "meta"


@pytest.mark.parametrize("left", ["step,clips,seconds,lr,total\n", "step,cl"])
def test_a_log_of_which_only_the_head_was_written_has_one_head(tmp_path, left):
    path = tmp_path / "a.csv"
    path.write_text(left)
    with _Log(path, 0) as log:
        log.add(1, 10, 1.0, 0.1, {"total": torch.tensor(1.0)}, flush=True)
    assert [row["step"] for row in read_log(path)] == [1]


def test_a_full_disk_is_said_and_leaves_the_checkpoint_before(tmp_path):
    loop = make_loop(tmp_path)
    go_on(loop)
    before = (tmp_path / "stage.pt").read_bytes()
    (tmp_path / "stage.part").symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"stage\.pt: cannot be written, is the disk full\?"):
        loop.save()
    assert (tmp_path / "stage.pt").read_bytes() == before and not (tmp_path / "stage.part").is_symlink()

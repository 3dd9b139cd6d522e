"""Reading the checkpoints that EfficientAT publishes (`mn04_as_mAP_432.pt` and its siblings)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .backbone.mobilenet import MobileNet, make_divisible, widen_stem
from .errors import WeightsError

_CLASSIFIER = {"2": "hidden", "5": "logits"}


def translate(state: Mapping[str, Tensor], width_mult: float) -> dict[str, Tensor]:
    """EfficientAT's parameter names to ours.

    There, a block's layers are numbered as they occur, and a block that does not expand has no first layer; so
    which number is the depthwise convolution depends on the width.

    Raises:
        WeightsError: a name that no EfficientAT MobileNet has.
    """
    net = MobileNet(width_mult)
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        ours[_translate_name(name, net)] = value
    return ours


def _translate_name(name: str, net: MobileNet) -> str:
    parts = name.split(".")
    if parts[0] == "classifier" and len(parts) == 3 and parts[1] in _CLASSIFIER:
        return f"classifier.{_CLASSIFIER[parts[1]]}.{parts[2]}"
    match = re.fullmatch(r"features\.(\d+)\.(?:block\.(\d+)\.)?(.+)", name)
    if match is None or int(match[1]) > len(net.blocks) + 1:
        raise WeightsError(f"{name!r} is no parameter of an EfficientAT MobileNet with an MLP head")
    stage, layer, rest = int(match[1]), match[2], match[3]
    if layer is None:
        where = "stem" if stage == 0 else "last"
    else:
        block = net.stages[stage - 1]
        names = ["expand"] * (block.expand is not None) + ["depthwise"] + ["se"] * (block.se is not None) + ["project"]
        if int(layer) >= len(names):
            raise WeightsError(f"{name!r}: a block of this width has {len(names)} layers")
        where = f"blocks.{stage - 1}.{names[int(layer)]}"
    if rest.startswith("conc_se_layers.0."):
        return f"{where}.{rest.removeprefix('conc_se_layers.0.')}"
    kind, _, leaf = rest.partition(".")
    if kind not in ("0", "1") or not leaf:
        raise WeightsError(f"{name!r} is no parameter of an EfficientAT MobileNet")
    return f"{where}.{'conv' if kind == '0' else 'norm'}.{leaf}"


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler meets
        raise WeightsError(f"{path}: not a readable PyTorch state dict ({error})") from error
    if not isinstance(state, Mapping) or not {"features.0.0.weight", "classifier.2.weight"} <= state.keys():
        raise WeightsError(f"{path}: no EfficientAT MobileNet (features.0.0.weight or classifier.2.weight is missing)")
    return state


def published_tier(path: str | Path) -> str:
    """The tier a published file was made for, "mn04" and the like.

    Raises:
        WeightsError: no such file, or not such a checkpoint.
    """
    return f"mn{round(_read(Path(path))['classifier.2.weight'].shape[0] / 128):02d}"


def load_published(path: str | Path, width_mult: float, in_channels: int) -> dict[str, Tensor]:
    """The backbone's state from a published `.pt` file, every shape checked.

    Args:
        path: the file; read with `weights_only=True`.
        width_mult: width of the tier it is loaded into.
        in_channels: the stem is widened to these with zeros, which keeps the function.

    Raises:
        WeightsError: not such a file, or a file of another tier.
    """
    path = Path(path)
    state = _read(path)
    found, expected = state["classifier.2.weight"].shape[0], make_divisible(1280 * width_mult)
    if found != expected:
        raise WeightsError(
            f"{path}: made for mn{round(found / 128):02d}, the model asked for is mn{round(width_mult * 10):02d}"
        )
    translated = translate(state, width_mult)
    reference = {k: v for k, v in MobileNet(width_mult).state_dict().items() if not k.endswith("num_batches_tracked")}
    missing, unexpected = reference.keys() - translated.keys(), translated.keys() - reference.keys()
    if missing or unexpected:
        raise WeightsError(f"{path}: missing {sorted(missing)[:3]}, unexpected {sorted(unexpected)[:3]}")
    for name, value in translated.items():
        if value.shape != reference[name].shape:
            expected_shape = tuple(reference[name].shape)
            raise WeightsError(f"{path}: {name} has shape {tuple(value.shape)}, {expected_shape} expected")
    translated["stem.conv.weight"] = widen_stem(translated["stem.conv.weight"], in_channels)
    return translated

# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Writes the folder that :mod:`.onnx_tower` runs: the image tower of any open_clip model as ONNX.

The 8-bit graph has 8-bit weights in its matrix products; activations are quantised while it runs, so that
nothing has to be known of the images. Convolutions stay in float32: static quantisation (QDQ) of a small
convolutional tower was slower than that, and kept the order of its rewards less well.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.clip.encoder import ClipEncoder
from apprentice.reward_models.clip.onnx_pool import one_query
from apprentice.reward_models.clip.onnx_simplify import simplify
from apprentice.reward_models.clip.onnx_tower import (
    FORMAT,
    GOLDEN,
    GRAPHS,
    MANIFEST,
    OnnxTower,
    difference,
    open_session,
    sha256,
    source,
)
from apprentice.robot.files import replacing_folder

OPSET = 20
TOLERANCE = 1e-4  # of numbers of a unit vector
GOLDEN_COUNT = 4
_LARGEST = 2_000_000_000  # bytes: what one ONNX file can hold


class _Tower(nn.Module):
    """Pixels uint8 [N, h, w, 3] to unit embeddings [N, D]."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, encoder: ClipEncoder):
        super().__init__()
        self.network = encoder.network
        # (pixels / 255 - mean) / std; the scale comes last, so that a convolution can take it up
        self.register_buffer('scale', 1 / (255 * encoder.std.cpu()))
        self.register_buffer('shift', -255 * encoder.mean.cpu())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        images = (pixels.permute(0, 3, 1, 2).float() + self.shift) * self.scale
        return functional.normalize(self.network.encode_image(images), dim=-1)


def export(
    encoder: ClipEncoder,
    out: str | Path,
    int8: bool = False,
    images: np.ndarray | None = None,
    say: Callable[[str], object] | None = None,
) -> dict[str, Any]:
    """Write the folder ``out``, which appears complete or not at all.

    Args:
        encoder: runs by torch on the CPU.
        int8: also a graph with 8-bit weights.
        images: uint8 [N, H, W, 3] of the cameras it will look through, some of which become the golden ones;
            None: random ones.
        say: told each stage before it begins.

    Returns:
        The manifest; ``difference`` holds how far each graph is from torch.

    Raises RewardModelError for what cannot be exported, for a folder ``out`` that holds something else and
    for a graph that differs from torch; ImportError without onnx.
    """
    out, say = Path(out), say or (lambda stage: None)
    versions = _packages()
    _require(encoder, out)
    golden_images = _golden_images(encoder, images)
    golden = {'images': golden_images, 'embeddings': encoder.images(golden_images)}
    with replacing_folder(out) as made:
        graphs = [GRAPHS['onnx']]
        say(graphs[0])
        _write(encoder, made / graphs[0])
        simplify(made / graphs[0])
        if int8:
            graphs.append(GRAPHS['onnx-int8'])
            say(graphs[1])
            quantize(made / graphs[0], made / graphs[1])
        say('comparing with torch')
        found = {name: difference(OnnxTower(open_session(made / name)), golden) for name in graphs}
        if not found[graphs[0]] <= TOLERANCE:
            raise RewardModelError(
                f'{graphs[0]} differs from torch by {found[graphs[0]]:.2g}, more than {TOLERANCE:.2g}; '
                'nothing was written. Try other versions of torch or onnxruntime'
            )
        # processors sum 8-bit numbers differently, so twice what was found on this one
        tolerance = {name: max(TOLERANCE, 2 * found[name]) for name in graphs}
        save_file(golden, made / GOLDEN)
        (made / GOLDEN).chmod(0o644)  # safetensors writes for the owner only
        manifest = {
            'format': FORMAT,
            'name': encoder.name,
            'source': source(encoder),
            'size': list(encoder.size),
            'dim': int(golden['embeddings'].shape[1]),
            'difference': found,
            'tolerance': tolerance,
            'versions': versions,
            'files': {path.name: sha256(path) for path in sorted(made.iterdir())},
        }
        (made / MANIFEST).write_text(json.dumps(manifest, indent=1) + '\n')
    return manifest


def quantize(path: Path, made: Path) -> None:
    """A graph with 8-bit weights in its matrix products."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            path,
            made,
            op_types_to_quantize=['MatMul', 'Gemm'],
            weight_type=QuantType.QInt8,
            per_channel=True,
        )


def _write(encoder: ClipEncoder, path: Path) -> None:
    fast = torch.backends.mha.get_fastpath_enabled()
    # PyTorch's fused attention has no ONNX operator
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), _quiet(), one_query(encoder.network):
            torch.onnx.export(
                _Tower(encoder).eval(),
                (torch.zeros(2, *encoder.size, 3, dtype=torch.uint8),),
                str(path),
                input_names=['pixels'],
                output_names=['embeddings'],
                dynamic_axes={'pixels': {0: 'batch'}, 'embeddings': {0: 'batch'}},
                opset_version=OPSET,
                dynamo=False,  # the same graph in a twentieth of the time
            )
    except Exception as error:  # the exporter raises whatever its parts raise
        raise RewardModelError(
            f'{encoder.name} cannot be exported to ONNX: {error}; use runtime torch'
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _golden_images(encoder: ClipEncoder, images: np.ndarray | None) -> np.ndarray:
    """Of the model's size: some of the images, or random ones."""
    if images is not None and len(images):
        rows = np.linspace(0, len(images) - 1, GOLDEN_COUNT).astype(int)
        return encoder.resize(np.ascontiguousarray(images[rows]))
    shape = (GOLDEN_COUNT, *encoder.size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _require(encoder: ClipEncoder, out: Path) -> None:
    if encoder.runtime != 'torch' or encoder.device.type != 'cpu':
        raise RewardModelError('load the model with runtime torch on the CPU to export it')
    size = 4 * sum(p.numel() for p in encoder.network.visual.parameters())
    if size > _LARGEST:
        raise RewardModelError(
            f'the image tower of {encoder.name} has {size / 1e9:.1f} GB, an ONNX file holds 2; such a model '
            'needs a GPU: use runtime torch-bf16'
        )
    if out.exists():
        earlier = False
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            earlier = json.loads((out / MANIFEST).read_text())['format'] == FORMAT
        if not earlier and (not out.is_dir() or any(out.iterdir())):
            raise RewardModelError(f'{out} exists and is no ONNX export of CLIP; give a new folder')


def _packages() -> dict[str, str]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"{error}; install it with: pip install 'apprentice[onnx]'") from error
    return {each.__name__: each.__version__ for each in (torch, onnx, onnxruntime)}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn about what is checked here by comparing with torch."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)

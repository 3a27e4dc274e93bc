# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The image tower of a CLIP model by onnxruntime on the CPU, from ``apprentice export clip-onnx``.

clip.onnx            uint8 [N, h, w, 3] of the model's size to unit embeddings [N, D]
clip_int8.onnx       the same with 8-bit weights, if asked for
golden.safetensors   images and the embeddings that torch made of them
clip_onnx.json       hashes of the weights it was made from and of the files, how far each graph is from torch

Texts stay with torch: each is read once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.files import read_json
from apprentice.robot.files import sha256

if TYPE_CHECKING:
    from apprentice.reward_models.clip.encoder import ClipEncoder

FORMAT = 'clip-onnx-1'
MANIFEST, GOLDEN = 'clip_onnx.json', 'golden.safetensors'
GRAPHS = {'onnx': 'clip.onnx', 'onnx-int8': 'clip_int8.onnx'}
RUNTIMES = ('torch', 'torch-bf16', *GRAPHS)
FOLDER = 'onnx'
_COMMAND = 'apprentice export clip-onnx WEIGHTS --out FOLDER'


def use_runtime(encoder: ClipEncoder, runtime: str, folder: Path | str) -> None:
    """Let another runtime encode images; one of RUNTIMES. Raises RewardModelError with the remedy."""
    if runtime == 'torch':
        return
    if runtime == 'torch-bf16':
        encoder.use_bfloat16()
        return
    if runtime not in GRAPHS:
        raise RewardModelError(f'there is no runtime {runtime!r}; use one of {", ".join(RUNTIMES)}')
    if encoder.device.type != 'cpu':
        raise RewardModelError(
            f'runtime {runtime} is for the CPU, the device is {encoder.device}; use torch-bf16 on a GPU'
        )
    encoder.use_tower(load_tower(folder, encoder, runtime), runtime)


def default_folder(weights: str | Path) -> Path:
    """Where the graphs of these weights are looked for: ``onnx`` beside them."""
    path = Path(str(weights).partition(':')[2] or str(weights)).expanduser()
    if Path(str(weights)).expanduser().exists():
        path = Path(str(weights)).expanduser()
    return (path if path.is_dir() else path.parent) / FOLDER


class OnnxTower:
    """A graph as a function: uint8 [N, h, w, 3] to float32 [N, D].

    Attributes:
        difference: largest difference from torch's embeddings of the golden images, found at loading.
    """

    def __init__(self, session: Any):
        self.session, self.difference = session, float('nan')
        self._input = session.get_inputs()[0].name

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self._input: np.ascontiguousarray(images)})[0]


def load_tower(
    folder: Path | str, encoder: ClipEncoder, runtime: str = 'onnx', threads: int = 0
) -> OnnxTower:
    """Read and verify an export, and run its golden images.

    Args:
        encoder: the model it must have been made from.
        threads: of onnxruntime; 0: as many as torch has.

    Raises RewardModelError for a folder that is missing, damaged, of other weights, or that computes
    something else here than where it was made; ImportError without onnxruntime.
    """
    from safetensors.numpy import load_file

    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise RewardModelError(
            f'no ONNX files of {encoder.name} in {folder}; make them with `{_COMMAND}` and name the FOLDER, '
            f"or let it be '{FOLDER}' beside the weights"
        )
    manifest = read_json(folder / MANIFEST)
    if manifest.get('format') != FORMAT:
        found = manifest.get('format')
        raise RewardModelError(f'{folder / MANIFEST}: format {found}, not {FORMAT}; export again')
    try:
        made_from = manifest['source']
        graph = GRAPHS[runtime]
        if made_from != source(encoder):
            raise RewardModelError(
                f'{folder} was made from CLIP weights {made_from}, but {encoder.name} is {source(encoder)}; '
                f'export again: `{_COMMAND}`'
            )
        if graph not in manifest['files']:
            raise RewardModelError(f'{folder} has no {graph}; `{_COMMAND} --int8` makes it')
        for name in (graph, GOLDEN):
            if not (folder / name).is_file() or sha256(folder / name) != manifest['files'][name]:
                raise RewardModelError(f'{folder / name} is missing or damaged; export again')
        tolerance = float(manifest['tolerance'][graph])
    except (KeyError, TypeError) as error:
        raise RewardModelError(f'{folder / MANIFEST} is damaged ({error!r}); export again') from error
    tower = OnnxTower(open_session(folder / graph, threads))
    tower.difference = difference(tower, load_file(folder / GOLDEN))
    if not tower.difference <= tolerance:
        raise RewardModelError(
            f'{folder / graph} makes other embeddings here than torch did when it was exported: they differ '
            f'by {tower.difference:.2g}, more than {tolerance:.2g}; export again with the versions used here'
        )
    return tower


def difference(tower: OnnxTower, golden: dict[str, np.ndarray]) -> float:
    """Largest difference between the numbers of the tower's embeddings and the golden ones."""
    return float(np.abs(tower(golden['images']) - golden['embeddings']).max())


def source(encoder: ClipEncoder) -> dict[str, str]:
    """What an export belongs to: the weights and the preprocessing."""
    return {'weights': encoder.version, 'preprocessing': encoder.preprocessing}


def open_session(path: Path, threads: int = 0) -> Any:
    """A session on the CPU. Raises ImportError naming the extra, RewardModelError for a bad graph."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"{error}; install it with: pip install 'apprentice[onnx]'") from error
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads or torch.get_num_threads(), 1
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(str(path), options, ['CPUExecutionProvider'])
    except Exception as error:  # those of onnxruntime have no base of their own
        raise RewardModelError(
            f'onnxruntime {onnxruntime.__version__} cannot load {path}: {error}; export again with it'
        ) from error

# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A policy checkpoint as a folder of ONNX files, which :mod:`.onnx_policy` runs.

policy.onnx          observation, noise and guidance to chunks: prefix and all Euler steps in one graph
policy_int8.onnx     the same with 8-bit weights, if asked for
prefix.onnx          observation to keys, values and mask, for programs that walk the steps themselves
denoise.onnx         noisy chunk, flow times and prefix to the velocity
golden.safetensors   an input of policy.onnx and the actions that torch made of it
policy.json          specification, architecture, hashes
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from apprentice.policies import checkpoint, flow
from apprentice.policies.onnx_graphs import ChunkGraph, PrefixGraph, VelocityGraph
from apprentice.policies.onnx_policy import (
    FORMAT,
    GOLDEN,
    GRAPHS,
    MANIFEST,
    PREFIX,
    VELOCITY,
    OnnxPolicy,
    difference,
)
from apprentice.policies.onnx_session import open_session
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs
from apprentice.policies.rtc import Guidance
from apprentice.robot.files import replacing_folder, sha256

OPSET = 20
TOLERANCE = 1e-5  # of the largest golden action (rad, m), at least of 1
GOLDEN_TEXT = 'pick up the red cube'


def export(
    weights: str | Path, out: str | Path, int8: bool = False, say: Callable[[str], object] | None = None
) -> dict[str, Any]:
    """Write the ONNX files of a checkpoint folder; the folder ``out`` appears complete or not at all.

    Args:
        int8: also a graph with 8-bit weights (dynamic quantisation), which has a tolerance of its own.
        say: told each stage before it begins.

    Returns:
        The manifest; ``golden.difference`` holds how far each graph is from torch (rad, m).

    Raises CheckpointError for the checkpoint, ValueError for a policy that cannot be exported, for a folder
    ``out`` that holds something else and for a graph that differs from torch, ImportError without onnx.
    """
    weights, out, say = Path(weights), Path(out), say or (lambda stage: None)
    versions = _packages()
    _require_replaceable(out)
    policy, source = checkpoint.load(weights)
    _require_exportable(policy)
    golden = golden_pair(policy)
    with replacing_folder(out) as made:
        say(f'{PREFIX}, {VELOCITY}')
        _write_parts(policy, made)
        graphs = [GRAPHS['float32']]
        say(graphs[0])
        _write_chunks(policy, golden, made / graphs[0])
        if int8:
            graphs.append(GRAPHS['int8'])
            say(graphs[1])
            quantize(made / graphs[0], made / graphs[1])
        say('comparing with torch')
        found = {name: _difference(policy, made / name, golden) for name in graphs}
        tolerance = dict.fromkeys(graphs, TOLERANCE * max(1.0, float(np.abs(golden['actions']).max())))
        if not found[graphs[0]] <= tolerance[graphs[0]]:
            raise ValueError(
                f'{graphs[0]} differs from torch by {found[graphs[0]]:.2g}, more than '
                f'{tolerance[graphs[0]]:.2g}; nothing was written. Try other versions of torch or onnxruntime'
            )
        if int8:  # processors sum 8-bit numbers differently, so twice what was found on this one
            tolerance[graphs[1]] = max(tolerance[graphs[1]], 2 * found[graphs[1]])
        save_file(golden, made / GOLDEN)
        (made / GOLDEN).chmod(0o644)  # safetensors writes for the owner only
        manifest = {
            'format': FORMAT,
            'spec': source['spec'],
            'config': source['config'],
            'about': source['about'],
            'source': {
                'weights_sha256': source['weights_sha256'],
                'manifest_sha256': sha256(weights / checkpoint.MANIFEST),
            },
            'golden': {'text': GOLDEN_TEXT, 'difference': found, 'tolerance': tolerance},
            'versions': versions,
            'files': {path.name: sha256(path) for path in sorted(made.iterdir())},
        }
        if source.get('beside'):  # not exported; whoever runs this is told so
            manifest['beside'] = source['beside']
        (made / MANIFEST).write_text(json.dumps(manifest, indent=1) + '\n')
    return manifest


def golden_pair(policy: FlowPolicy, seed: int = 0) -> dict[str, np.ndarray]:
    """An input of the graph of whole chunks, but for its tokens, and the ``actions`` torch makes of it."""
    spec, generator = policy.spec, torch.Generator().manual_seed(seed)
    given = _observation(policy, 1, generator)
    noise = torch.randn(2, spec.horizon, spec.dim, generator=generator)
    target = torch.randn(spec.horizon, spec.dim, generator=generator)
    weights = torch.rand(spec.horizon, generator=generator)
    fixed = torch.arange(spec.horizon) < policy.config.max_delay
    given |= {'noise': noise, 'target': target, 'weights': weights, 'max_weight': torch.tensor([5.0])}
    images = {name: given[f'image_{name}'] for name in spec.cameras}
    with torch.no_grad():
        prefix = policy.encode(Inputs(images, given['state'], [GOLDEN_TEXT])).repeat(2)
        guidance = Guidance(target.expand_as(noise), weights.expand(2, -1), fixed.expand(2, -1), 5.0)
        sampled = flow.integrate(policy.expert, prefix, noise, policy.config.denoise_steps, guidance)
        given['actions'] = policy.denormalize_actions(sampled, given['state'])
    if policy.config.max_delay:
        given['fixed'] = fixed
    return {name: tensor.contiguous().numpy() for name, tensor in given.items() if name != 'tokens'}


def quantize(path: Path, made: Path) -> None:
    """8-bit weights for the matrix products of a graph; activations are quantised while it runs."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(path, made, op_types_to_quantize=['MatMul', 'Gemm'], weight_type=QuantType.QInt8)


def _observation(
    policy: FlowPolicy, batch: int, generator: torch.Generator | None = None
) -> dict[str, torch.Tensor]:
    """Inputs of the prefix by their names in the graphs: a state near the mean, words, random images."""
    spec = policy.spec
    near = torch.randn(batch, spec.dim, generator=generator) * policy.state_std
    tokens = policy.backbone.tokenize([GOLDEN_TEXT] * batch)
    images = {
        f'image_{name}': torch.randint(256, (batch, *size, 3), dtype=torch.uint8, generator=generator)
        for name, size in spec.cameras.items()
    }
    return {'state': policy.state_mean + near, 'tokens': tokens, **images}


def _write_parts(policy: FlowPolicy, folder: Path) -> None:
    prefix, given = PrefixGraph(policy), _observation(policy, 2)
    with torch.no_grad():
        keys, values, mask = prefix(*given.values())
    axes = {name: {0: 'batch'} for name in (*given, 'mask')} | {'keys': {1: 'batch'}, 'values': {1: 'batch'}}
    _write(prefix, given, ['keys', 'values', 'mask'], axes, folder / PREFIX)
    x = torch.zeros(2, policy.spec.horizon, policy.spec.dim)
    given = {'x': x, 'time': x[..., 0].clone(), 'keys': keys, 'values': values, 'mask': mask}
    axes |= {name: {0: 'batch'} for name in ('x', 'time', 'velocity')}
    _write(VelocityGraph(policy), given, ['velocity'], axes, folder / VELOCITY)


def _write_chunks(policy: FlowPolicy, golden: dict[str, np.ndarray], path: Path) -> None:
    graph = ChunkGraph(policy)
    names = ['state', 'noise', 'target', 'weights', 'max_weight']
    names += ['fixed'] * graph.clean_rows + [f'image_{name}' for name in policy.spec.cameras]
    given = {name: torch.from_numpy(golden[name]) for name in names}
    given = {'state': given.pop('state'), 'tokens': policy.backbone.tokenize([GOLDEN_TEXT]), **given}
    _write(graph, given, ['actions'], {'noise': {0: 'candidates'}, 'actions': {0: 'candidates'}}, path)


def _write(
    graph: nn.Module,
    given: dict[str, torch.Tensor],
    outputs: list[str],
    axes: dict[str, dict[int, str]],
    path: Path,
) -> None:
    """Export a graph called with ``given``, in that order; ``axes`` of inputs and outputs have any length."""
    with torch.no_grad(), _quiet():
        torch.onnx.export(
            graph.eval(),
            tuple(given.values()),
            str(path),
            input_names=list(given),
            output_names=outputs,
            dynamic_axes={name: axes[name] for name in (*given, *outputs) if name in axes},
            opset_version=OPSET,
            dynamo=False,  # the same graph in a twentieth of the time
        )


def _difference(policy: FlowPolicy, path: Path, golden: dict[str, np.ndarray]) -> float:
    return difference(OnnxPolicy(policy.spec, policy.config, open_session(path)), golden, GOLDEN_TEXT)


def _packages() -> dict[str, str]:
    """Versions of what makes the files, all of which is needed."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"{error}; install it with: pip install 'apprentice[onnx]'") from error
    return {each.__name__: each.__version__ for each in (torch, onnx, onnxruntime)}


def _require_replaceable(out: Path) -> None:
    """Only an earlier export and an empty folder are replaced: ``out`` may be the checkpoint itself."""
    if not out.exists():
        return
    earlier = False
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        earlier = json.loads((out / MANIFEST).read_text())['format'] == FORMAT
    if not earlier and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f'{out} exists and is no ONNX export; give a new folder, nothing was written')


def _require_exportable(policy: FlowPolicy) -> None:
    part = policy.config.backbone.part
    if not all(hasattr(policy.backbone, name) for name in ('tokenize', 'encode_tokens')):
        raise ValueError(
            f'the backbone {part} cannot be exported to ONNX, it has no encode_tokens(images, state, ids) '
            'and tokenize(text); run it with runtime torch or compiled'
        )
    if policy.config.head != 'flow':
        raise ValueError(
            'only the flow head is exported to ONNX; set policy.head to flow, or run it with torch'
        )


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


def main() -> int:
    """``python -m apprentice.policies.onnx_export WEIGHTS OUT [--int8]``, for :mod:`.onnx_cache`."""
    os.nice(10)
    weights, out, *options = sys.argv[1:]
    try:
        export(weights, out, '--int8' in options)
    except (ValueError, OSError, ImportError) as error:
        sys.stderr.write(f'{error}\n')
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())

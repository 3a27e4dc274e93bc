# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A policy that onnxruntime runs, from a folder made by ``apprentice export onnx``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from apprentice.policies import checkpoint
from apprentice.policies.checkpoint import CheckpointError
from apprentice.policies.config import PolicyConfig
from apprentice.policies.noise import Noise, draw
from apprentice.policies.onnx_cache import exported, is_checkpoint
from apprentice.policies.onnx_session import open_session
from apprentice.policies.policy import finite, inputs_of
from apprentice.policies.prefix import Inputs
from apprentice.policies.rtc import Guidance, PreviousChunk, RtcConfig
from apprentice.policies.spec import PolicySpec
from apprentice.policies.units import PolicyUnits, require_finite
from apprentice.robot.files import sha256
from apprentice.robot.parts import load_part
from apprentice.robot.types import Observation

FORMAT = 'onnx-1'
MANIFEST, GOLDEN = checkpoint.MANIFEST, 'golden.safetensors'
PREFIX, VELOCITY = 'prefix.onnx', 'denoise.onnx'
GRAPHS = {'float32': 'policy.onnx', 'int8': 'policy_int8.onnx'}
# a GPU sums in another order, and TensorRT with fewer digits; not measured
GPU_TOLERANCE = 100


class OnnxPolicy(PolicyUnits):
    """Observation to action chunk, as FlowPolicy, by one graph for prefix and all steps.

    From the same generator it draws the same noise, and its chunks are those of the torch policy to 1e-5.
    Observations of a batch are planned for one after the other, candidates of one observation together.

    Attributes:
        golden_difference: from torch on the golden input (rad, m), as measured when it was loaded.
    """

    def __init__(self, spec: PolicySpec, config: PolicyConfig, session: Any):
        super().__init__(spec, config)
        self.session = session
        self.tokenize = load_part(config.backbone.part).tokenize
        self.golden_difference = float('nan')
        self._takes = [entry.name for entry in session.get_inputs()]

    def candidates(
        self,
        inputs: Inputs,
        n: int,
        generator: Noise = None,
        previous: PreviousChunk | Sequence[PreviousChunk | None] | None = None,
        rtc: RtcConfig | None = None,
    ) -> torch.Tensor:
        """See :meth:`~apprentice.policies.policy.FlowPolicy.candidates`; [B, n, H, A] in raw units."""
        batch, spec = len(inputs.state), self.spec
        require_finite(inputs.state)
        if isinstance(generator, Sequence) and len(generator) != batch:
            raise ValueError(f'{len(generator)} generators for {batch} observations; give one for each')
        noise = draw(torch.randn, batch * n, (spec.horizon, spec.dim), generator).unflatten(0, (batch, n))
        guidance = self.guidance(previous, inputs.state, rtc or RtcConfig())
        tokens, chunks = self.tokenize(inputs.text).numpy(), []
        for i in range(batch):
            feeds = {f'image_{name}': inputs.images[name][i : i + 1].numpy() for name in spec.cameras}
            feeds |= {'state': inputs.state[i : i + 1].numpy(), 'tokens': tokens[i : i + 1]}
            chunks.append(self.run(feeds | {'noise': noise[i].numpy()} | self._steering(guidance, i)))
        return torch.from_numpy(np.stack(chunks))

    def act(
        self,
        observation: Observation,
        generator: torch.Generator | None = None,
        previous: PreviousChunk | None = None,
        rtc: RtcConfig | None = None,
    ) -> np.ndarray:
        """One chunk [H, A] of joint targets for one observation. Raises ValueError if it is not finite."""
        sampled = self.candidates(inputs_of([observation], self.spec), 1, generator, previous, rtc)
        return finite(sampled[0, 0])

    def act_batch(
        self,
        observations: Sequence[Observation],
        generator: Noise = None,
        previous: Sequence[PreviousChunk | None] | None = None,
        rtc: RtcConfig | None = None,
    ) -> np.ndarray:
        """One chunk for each observation, [B, H, A]. Raises ValueError if one is not finite."""
        sampled = self.candidates(inputs_of(observations, self.spec), 1, generator, previous, rtc)
        return finite(sampled[:, 0])

    def run(self, feeds: dict[str, np.ndarray]) -> np.ndarray:
        """Chunks [n, H, A] from the inputs of the graph, by their names."""
        return self.session.run(None, {name: feeds[name] for name in self._takes})[0]

    def _steering(self, guidance: Guidance | None, row: int) -> dict[str, np.ndarray]:
        horizon = self.spec.horizon
        if guidance is None:
            return {
                'target': np.zeros((horizon, self.spec.dim), np.float32),
                'weights': np.zeros(horizon, np.float32),
                'fixed': np.zeros(horizon, bool),
                'max_weight': np.ones(1, np.float32),
            }
        return {
            'target': guidance.target[row].numpy(),
            'weights': guidance.weights[row].numpy(),
            'fixed': guidance.fixed[row].numpy(),
            'max_weight': np.array([guidance.max_weight], np.float32),
        }


def load(
    folder: str | Path,
    expected_sha256: str = '',
    providers: str | Sequence[str] = 'cpu',
    threads: int = 1,
    precision: str = 'float32',
) -> tuple[OnnxPolicy, dict[str, Any]]:
    """Read an export, verify every file and run its golden input; returns the policy and its manifest.

    A torch checkpoint is exported first, see :mod:`.onnx_cache`.

    Args:
        expected_sha256: of the manifest; empty: not known.
        providers: of :mod:`.onnx_session`, the first preferred, as a list or with commas between.
        threads: of onnxruntime on the CPU.
        precision: ``float32``, or ``int8`` where it was exported.

    Raises CheckpointError for a folder that is missing, damaged, foreign or computes something else here
    than torch did, ValueError for a provider that is not there, ImportError without onnxruntime.
    """
    path = Path(folder)
    if is_checkpoint(path):
        path, expected_sha256 = exported(path, expected_sha256, precision == 'int8'), ''
    manifest = _manifest(path, expected_sha256)
    try:
        files, golden = manifest['files'], manifest['golden']
        spec, config = PolicySpec.from_dict(manifest['spec']), PolicyConfig.from_dict(manifest['config'])
        graph = GRAPHS.get(precision, precision)
        if graph not in files:
            known = [name for name, file in GRAPHS.items() if file in files]
            raise CheckpointError(
                f'{path} has no {precision!r} graph, only {known}; `apprentice export onnx --int8` makes it'
            )
        tolerance, text = float(golden['tolerance'][graph]), str(golden['text'])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f'{path / MANIFEST} is damaged ({error!r}); copy the folder again') from error
    for name, recorded in files.items():
        if not (path / name).is_file() or sha256(path / name) != recorded:
            raise CheckpointError(f'{path / name} is missing or damaged (sha256 differs); copy it again')
    policy = OnnxPolicy(spec, config, open_session(path / graph, providers, threads))
    policy.golden_difference = found = difference(policy, load_file(path / GOLDEN), text)
    used = policy.session.get_providers()[0]
    on_cpu = used == 'CPUExecutionProvider'
    tolerance *= 1 if on_cpu else GPU_TOLERANCE
    if not found <= tolerance:
        remedy = '' if on_cpu else 'use providers: cpu, or '
        raise CheckpointError(
            f'{path / graph} computes other actions here than torch did when it was exported: they differ '
            f'by {found:.2g}, more than {tolerance:.2g}, on {used}; {remedy}export again with the '
            'versions of torch and onnxruntime that are installed here'
        )
    return policy, manifest


def _manifest(folder: Path, expected_sha256: str) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(
            f'no policy in {folder} ({MANIFEST} is missing); pass a folder made by `apprentice export onnx`'
        )
    try:
        manifest = json.loads(path.read_text())
        kind = manifest['format']
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f'{path} is damaged ({error!r}); copy the folder again') from error
    if expected_sha256 and sha256(path) != expected_sha256:
        raise CheckpointError(f'{path} is not the file that was announced (sha256 differs); copy it again')
    if kind != FORMAT:
        raise CheckpointError(f'{path}: format {kind}, this version reads {FORMAT}; export again')
    return manifest


def difference(policy: OnnxPolicy, golden: dict[str, np.ndarray], text: str) -> float:
    """Largest difference (rad, m) between the actions of the golden input and those that torch computed.

    Its tokens are made here, so that another tokenizer is noticed too.
    """
    feeds = {name: array for name, array in golden.items() if name != 'actions'}
    actions = policy.run(feeds | {'tokens': policy.tokenize([text]).numpy()})
    return float(np.abs(actions - golden['actions']).max())

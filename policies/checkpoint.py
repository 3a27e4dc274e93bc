# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Policies on disk: a folder of safetensors and JSON, written whole or not at all, verified by hash."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.spec import PolicySpec

FORMAT = 1
WEIGHTS, MANIFEST = 'model.safetensors', 'policy.json'


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or of another kind; the message names the file and the remedy."""


def save(policy: FlowPolicy, folder: str | Path, about: dict[str, Any] | None = None) -> str:
    """Write a checkpoint folder and return the sha256 of its manifest.

    The manifest holds the hash of the weights, so one hash vouches for both. The folder appears by
    rename, complete; an existing folder is replaced only after the new one is safe on disk.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    try:
        made.chmod(0o755)
        tensors = {
            name: t.detach().to('cpu', torch.float32).contiguous() for name, t in policy.state_dict().items()
        }
        write_tensors(tensors, made / WEIGHTS)
        manifest = {
            'format': FORMAT,
            'spec': policy.spec.to_dict(),
            'config': policy.config.to_dict(),
            'weights_sha256': sha256(made / WEIGHTS),
            'about': about or {},
        }
        (made / MANIFEST).write_text(json.dumps(manifest, indent=1) + '\n')
        for name in (WEIGHTS, MANIFEST):
            with open(made / name, 'rb') as file:
                os.fsync(file.fileno())
        old = None
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.old.', dir=folder.parent))
            os.rename(folder, old / 'was')
        os.rename(made, folder)
        if old is not None:
            shutil.rmtree(old)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return sha256(folder / MANIFEST)


def load(folder: str | Path, expected_sha256: str = '') -> tuple[FlowPolicy, dict[str, Any]]:
    """Read a checkpoint; returns the policy in evaluation mode and its manifest.

    Raises CheckpointError for a missing, damaged, foreign or non-finite checkpoint, StatisticsError
    for unusable statistics.
    """
    folder = Path(folder)
    manifest_path = folder / MANIFEST
    if not manifest_path.is_file():
        raise CheckpointError(
            f'no policy in {folder} ({MANIFEST} is missing); pass a folder made by `apprentice train bc`'
        )
    if expected_sha256 and sha256(manifest_path) != expected_sha256:
        raise CheckpointError(
            f'{manifest_path} is not the file that was announced (sha256 differs); copy it again'
        )
    try:
        manifest = json.loads(manifest_path.read_text())
        if manifest['format'] != FORMAT:
            raise CheckpointError(
                f'{manifest_path}: format {manifest["format"]}, this version reads {FORMAT}'
            )
        recorded = manifest['weights_sha256']
        spec, config = PolicySpec.from_dict(manifest['spec']), PolicyConfig.from_dict(manifest['config'])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f'{manifest_path} is damaged ({error!r}); copy the checkpoint again') from error
    if not (folder / WEIGHTS).is_file() or sha256(folder / WEIGHTS) != recorded:
        raise CheckpointError(f'{folder / WEIGHTS} is missing or damaged (sha256 differs); copy it again')
    tensors = load_file(folder / WEIGHTS)
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(f'{folder}: weights are not finite in {broken[:3]}; use an earlier version')
    policy = FlowPolicy(spec, config)
    try:
        policy.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f'{folder}: weights do not fit their own configuration: {error}') from error
    return policy.eval(), manifest


def write_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file. Raises OSError with the remedy; the library's own error is none."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise OSError(f'cannot write {path}: {error}; free some space on that disk') from error
    path.chmod(0o644)  # safetensors writes for the owner only


def sha256(path: Path) -> str:
    """Hash of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()

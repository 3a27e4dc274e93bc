# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Policies on disk: a folder of safetensors and JSON, written whole or not at all, verified by hash."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.shared_tensors import again, once
from apprentice.policies.spec import PolicySpec
from apprentice.robot.files import replacing_folder, sha256
from apprentice.robot.settings import SettingsError

FORMAT = 1
WEIGHTS, MANIFEST = 'model.safetensors', 'policy.json'


# of a part beside the policy: its name, plain settings, tensors
Beside = tuple[str, dict[str, Any], dict[str, torch.Tensor]]


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or of another kind; the message names the file and the remedy."""


def save(
    policy: FlowPolicy,
    folder: str | Path,
    about: dict[str, Any] | None = None,
    beside: Beside | None = None,
) -> str:
    """Write a checkpoint folder and return the sha256 of its manifest.

    Args:
        beside: a part that acts together with the policy and is read by :func:`load_beside`.

    The manifest holds the hash of the weights, so one hash vouches for both. The folder appears by
    rename, complete; an existing folder is replaced only after the new one is safe on disk. Weights keep
    their types; those of a pretrained backbone that are not trained stay where they are, and the manifest
    says which model it was (``base``).
    """
    folder = Path(folder)
    with replacing_folder(folder) as made:
        tensors, shared = once(policy.state_dict())
        write_tensors(tensors, made / WEIGHTS)
        manifest: dict[str, Any] = {
            'format': FORMAT,
            'spec': policy.spec.to_dict(),
            'config': policy.config.to_dict(),
            'weights_sha256': sha256(made / WEIGHTS),
            'about': about or {},
        }
        if policy.token_head is not None:
            manifest['tokenizer'] = policy.token_head.tokens_to_dict()
        extra = {'shared': shared, 'base': getattr(policy.backbone, 'base', {})}
        manifest |= {name: value for name, value in extra.items() if value}
        if beside is not None:
            name, settings, tensors = beside
            write_tensors(tensors, made / f'{name}.safetensors')
            digest = sha256(made / f'{name}.safetensors')
            manifest['beside'] = {'name': name, 'settings': settings, 'sha256': digest}
        (made / MANIFEST).write_text(json.dumps(manifest, indent=1) + '\n')
    return sha256(folder / MANIFEST)


def load(
    folder: str | Path, expected_sha256: str = '', base: str | Path = ''
) -> tuple[FlowPolicy, dict[str, Any]]:
    """Read a checkpoint; returns the policy in evaluation mode and its manifest.

    Args:
        base: where the pretrained model of the backbone lies now; default where it lay in training, or in a
            folder of the environment variable APPRENTICE_MODELS.

    Raises CheckpointError for a missing, damaged, foreign or non-finite checkpoint and for a pretrained
    model that is missing or another one, StatisticsError for unusable statistics.
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
                + ('; it is an ONNX export, use runtime onnx' if 'onnx' in str(manifest['format']) else '')
            )
        recorded = manifest['weights_sha256']
        spec = PolicySpec.from_dict(manifest['spec'])
        config = PolicyConfig.from_dict(_as_then(manifest['config']))
    except SettingsError as error:
        raise CheckpointError(
            f'{manifest_path}: {error}; it was written by another version of apprentice'
        ) from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f'{manifest_path} is damaged ({error!r}); copy the checkpoint again') from error
    if not (folder / WEIGHTS).is_file() or sha256(folder / WEIGHTS) != recorded:
        raise CheckpointError(f'{folder / WEIGHTS} is missing or damaged (sha256 differs); copy it again')
    tensors = load_file(folder / WEIGHTS)
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(f'{folder}: weights are not finite in {broken[:3]}; use an earlier version')
    policy = _build(folder, spec, config, manifest.get('base', {}).get('sha256', ''), base)
    if policy.token_head is not None:
        try:
            policy.token_head.tokens_from_dict(manifest.get('tokenizer', {}))
        except ValueError as error:
            raise CheckpointError(f'{manifest_path} is damaged: {error}') from error
    try:
        policy.load_state_dict(again(tensors, manifest.get('shared', {})))
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f'{folder}: weights do not fit their own configuration: {error}') from error
    return policy.eval(), manifest


def _as_then(config: dict[str, Any]) -> dict[str, Any]:
    """An architecture as it was meant when it was stored, before there was a setting."""
    backbone = config.get('backbone', {})
    if backbone.get('part', TinyConfig.part) == TinyConfig.part and 'max_side' not in backbone:
        return {**config, 'backbone': {**backbone, 'max_side': 0}}
    return config


def load_beside(folder: str | Path, manifest: dict[str, Any], name: str) -> Beside | None:
    """The part ``name`` beside a policy that :func:`load` has read; None: there is none of that name.

    Raises CheckpointError if it is missing or damaged.
    """
    found = manifest.get('beside', {})
    if found.get('name') != name:
        return None
    path = Path(folder) / f'{name}.safetensors'
    if not path.is_file() or sha256(path) != found['sha256']:
        raise CheckpointError(f'{path} is missing or damaged (sha256 differs); copy it again')
    tensors = load_file(path)
    broken = [key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(f'{path}: numbers are not finite in {broken[:3]}; use an earlier version')
    return name, found['settings'], tensors


def _build(
    folder: Path, spec: PolicySpec, config: PolicyConfig, recorded: str, base: str | Path
) -> FlowPolicy:
    """A policy whose backbone has the pretrained model it was trained with, if it has one."""
    if base:
        if not hasattr(config.backbone, 'model'):
            raise CheckpointError(f'{folder} holds all of its weights; leave base out')
        backbone = dataclasses.replace(config.backbone, model=str(base))
        config = dataclasses.replace(config, backbone=backbone)
    try:
        policy = FlowPolicy(spec, config)
    except FileNotFoundError as error:
        raise CheckpointError(
            f'{folder} was trained on a pretrained model that is missing: {error}'
        ) from error
    except ValueError as error:
        raise CheckpointError(f'{folder} cannot be built: {error}') from error
    found = getattr(policy.backbone, 'base', {}).get('sha256', '')
    if recorded != found:
        raise CheckpointError(
            f'{folder} was trained on another model (hash {recorded[:12]}) than {config.backbone.model} '
            f'holds now ({found[:12]}); give the one it was trained on'
        )
    return policy


def write_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file. Raises OSError with the remedy; the library's own error is none."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise OSError(f'cannot write {path}: {error}; free some space on that disk') from error
    path.chmod(0o644)  # safetensors writes for the owner only

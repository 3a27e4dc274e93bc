# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Exported policies: they act as torch does, and refuse what is damaged, foreign or missing."""

import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from small_policy import CONFIG, small_observation, small_policy

from apprentice.policies import checkpoint, onnx_export, onnx_policy
from apprentice.policies.backbones.tiny import TinyBackbone
from apprentice.policies.checkpoint import CheckpointError, sha256
from apprentice.policies.expert import ExpertConfig
from apprentice.policies.onnx_policy import GOLDEN, GRAPHS, MANIFEST, OnnxPolicy
from apprentice.policies.policy import FlowPolicy, inputs_of
from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.policies.runtime import load_policy

for package in ('onnx', 'onnxruntime'):
    pytest.importorskip(package, reason=f"{package} is missing: pip install 'apprentice[onnx]'")

CLOSE = 1e-5
# grouped queries, rotary positions, clean rows: what large backbones and the mode trained need; and a picture
# that is shrunk
LARGE = replace(
    CONFIG,
    backbone=replace(CONFIG.backbone, max_side=16),
    expert=ExpertConfig(width=32, layers=3, heads=4, rope_theta=100.0),
    max_delay=2,
)


@dataclass
class Exported:
    torch: FlowPolicy
    weights: Path
    folder: Path
    manifest: dict
    onnx: OnnxPolicy


@pytest.fixture(scope='module')
def plain(tmp_path_factory) -> Exported:
    return make(tmp_path_factory.mktemp('plain'), small_policy(), int8=True)


@pytest.fixture(scope='module')
def large(tmp_path_factory) -> Exported:
    return make(tmp_path_factory.mktemp('large'), small_policy(LARGE), int8=False)


def make(folder: Path, policy: FlowPolicy, int8: bool) -> Exported:
    checkpoint.save(policy, folder / 'weights', {'name': 'small'})
    manifest = onnx_export.export(folder / 'weights', folder / 'onnx', int8)
    return Exported(
        policy, folder / 'weights', folder / 'onnx', manifest, onnx_policy.load(folder / 'onnx')[0]
    )


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def previous(delay: int = 2, rows: int = 4) -> PreviousChunk:
    return PreviousChunk(np.random.default_rng(1).normal(0.3, 0.5, (rows, 3)), delay)


@pytest.mark.parametrize(
    ('kind', 'mode'),
    [
        ('plain', 'hard'),
        ('plain', 'soft'),
        *(('large', mode) for mode in ('none', 'hard', 'soft', 'trained')),
    ],
)
def test_acts_as_torch(request, kind, mode):
    made = request.getfixturevalue(kind)
    rtc = RtcConfig(mode, max_weight=3.0)
    for seed in range(3):
        seen = small_observation(seed, 'open the drawer' if seed else '')
        expected = made.torch.act(seen, seeded(seed), previous(), rtc)
        found = made.onnx.act(seen, seeded(seed), previous(), rtc)
        assert np.abs(found - expected).max() < CLOSE
        free = made.onnx.act(seen, seeded(seed))
        assert (np.abs(found - free).max() > 1e-2) == (mode != 'none')
    assert found.dtype == expected.dtype


def test_candidates_are_those_of_torch(large):
    inputs = inputs_of([small_observation(0), small_observation(1, 'stack')], large.torch.spec)
    chunks = [previous(), None]
    expected = large.torch.candidates(inputs, 4, [seeded(1), seeded(2)], chunks)
    found = large.onnx.candidates(inputs, 4, [seeded(1), seeded(2)], chunks)
    assert found.shape == (2, 4, 6, 3)
    assert (found - expected).abs().max() < CLOSE
    assert (found[0, 0] - found[0, 1]).abs().max() > 1e-2
    batch = [small_observation(seed) for seed in range(3)]
    assert (
        np.abs(large.onnx.act_batch(batch, seeded()) - large.torch.act_batch(batch, seeded())).max() < CLOSE
    )


def test_prefix_and_denoise_walk_to_the_same_chunk(large):
    prefix, velocity = (
        onnx_policy.open_session(large.folder / name) for name in ('prefix.onnx', 'denoise.onnx')
    )
    observations = [small_observation(seed) for seed in range(3)]
    inputs = inputs_of(observations, large.torch.spec)
    feeds = {f'image_{name}': images.numpy() for name, images in inputs.images.items()}
    feeds |= {'state': inputs.state.numpy(), 'tokens': TinyBackbone.tokenize(inputs.text).numpy()}
    seen = dict(zip(('keys', 'values', 'mask'), prefix.run(None, feeds)))
    x = torch.randn(3, 6, 3, generator=seeded()).numpy()
    steps = large.torch.config.denoise_steps
    for i in range(steps):
        time = np.full((3, 6), 1 - i / steps, np.float32)
        x = x - velocity.run(None, {'x': x, 'time': time, **seen})[0] / steps
    found = large.torch.denormalize_actions(torch.from_numpy(x), inputs.state)
    assert np.abs(found.numpy() - large.torch.act_batch(observations, seeded())).max() < CLOSE


def test_runtime_by_name_and_hash_of_the_manifest(plain):
    policy, manifest = load_policy(plain.folder, sha256(plain.folder / MANIFEST), 'onnx', threads=2)
    assert manifest['about'] == {'name': 'small'}
    assert manifest['source']['weights_sha256'] == sha256(plain.weights / checkpoint.WEIGHTS)
    assert policy.spec.to_dict() == plain.torch.spec.to_dict()
    with pytest.raises(CheckpointError, match='not the file that was announced'):
        load_policy(plain.folder, '0' * 64, 'onnx')


@pytest.fixture
def copied(plain, tmp_path) -> Path:
    return Path(shutil.copytree(plain.folder, tmp_path / 'copied'))


@pytest.mark.parametrize('name', ['policy.onnx', 'prefix.onnx', GOLDEN])
def test_damaged_files_are_refused(copied, name):
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(
        CheckpointError, match=f'{name} is missing or damaged .sha256 differs.; copy it again'
    ):
        onnx_policy.load(copied)


def test_other_actions_than_torch_are_refused(copied):
    golden = load_file(copied / GOLDEN)
    golden['actions'][1, 3, 2] += 1e-3
    save_file(golden, copied / GOLDEN)
    manifest = json.loads((copied / MANIFEST).read_text())
    manifest['files'][GOLDEN] = sha256(copied / GOLDEN)
    (copied / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(
        CheckpointError, match=r'differ by 0.001, more than 1.*e-05, on CPU\w+; export again with'
    ):
        onnx_policy.load(copied)


def test_a_tokenizer_of_another_version_is_noticed(copied, monkeypatch):
    monkeypatch.setattr(TinyBackbone, 'tokenize', staticmethod(lambda text: torch.ones(len(text), 10).long()))
    with pytest.raises(CheckpointError, match='computes other actions here'):
        onnx_policy.load(copied)


@pytest.mark.parametrize('text', ['{', '[]', '{"format": "onnx-1"}'])
def test_a_damaged_manifest_is_refused(copied, text):
    (copied / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match='is damaged'):
        onnx_policy.load(copied)


def test_providers(plain):
    with pytest.raises(ValueError, match=r"no provider 'tensorrt' here, it has \['cpu'\].*onnx-gpu"):
        onnx_policy.load(plain.folder, providers='tensorrt,cpu')
    with pytest.raises(ValueError, match=r"no provider 'gpu'; use one of \['cpu', 'cuda', 'tensorrt'\]"):
        onnx_policy.load(plain.folder, providers=['gpu'])
    assert onnx_policy.load(plain.folder, providers=['cpu'])[0].golden_difference < CLOSE


def test_without_onnxruntime_the_extra_is_named(plain, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ImportError, match=r"pip install 'apprentice\[onnx\]'"):
        onnx_policy.load(plain.folder)


def no_camera(policy):
    seen = small_observation()
    del seen.images['wrist']
    policy.act(seen)


def other_size(policy):
    seen = small_observation()
    seen.images['wrist'] = seen.images['front']
    policy.act(seen)


def no_number(policy):
    seen = small_observation()
    seen.state[1] = np.nan
    policy.act(seen)


def too_late(policy):
    policy.act(small_observation(), seeded(), previous(delay=3), RtcConfig('trained'))


def few_generators(policy):
    policy.act_batch([small_observation()] * 3, [seeded()] * 2)


@pytest.mark.parametrize('call', [no_camera, other_size, no_number, too_late, few_generators])
def test_bad_input_gets_the_error_of_torch(large, call):
    messages = []
    for policy in (large.torch, large.onnx):
        with pytest.raises(ValueError) as caught:
            call(policy)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_folders_that_are_no_export_are_explained(plain, tmp_path):
    with pytest.raises(CheckpointError, match='use runtime onnx'):
        checkpoint.load(plain.folder)
    with pytest.raises(CheckpointError, match='no policy in'):
        onnx_policy.load(tmp_path)


def test_eight_bits_have_a_tolerance_of_their_own(plain, large):
    golden = plain.manifest['golden']
    policy, _ = onnx_policy.load(plain.folder, precision='int8')
    assert CLOSE < policy.golden_difference <= golden['tolerance'][GRAPHS['int8']] < 0.5
    assert policy.golden_difference == pytest.approx(golden['difference'][GRAPHS['int8']], rel=0.5)
    with pytest.raises(CheckpointError, match=r"no 'int8' graph, only \['float32'\]"):
        onnx_policy.load(large.folder, precision='int8')


def test_a_failed_export_writes_nothing_and_keeps_the_old(copied, tmp_path, monkeypatch):
    checkpoint.save(small_policy(denoise_steps=1), tmp_path / 'weights')
    before = {path.name: sha256(path) for path in copied.iterdir()}
    monkeypatch.setattr(onnx_export, 'TOLERANCE', -1.0)
    with pytest.raises(ValueError, match='differs from torch by'):
        onnx_export.export(tmp_path / 'weights', copied)
    assert {path.name: sha256(path) for path in copied.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {'copied', 'weights'}


def test_a_folder_with_something_else_is_not_replaced(plain):
    with pytest.raises(ValueError, match='is no ONNX export; give a new folder'):
        onnx_export.export(plain.weights, plain.weights)
    assert checkpoint.load(plain.weights)


def test_a_backbone_that_cannot_be_exported_says_so(plain, tmp_path, monkeypatch):
    monkeypatch.delattr(TinyBackbone, 'tokenize')
    with pytest.raises(ValueError, match='TinyBackbone cannot be exported to ONNX'):
        onnx_export.export(plain.weights, tmp_path / 'out')
    assert not any(tmp_path.iterdir())


def test_compiled_parts_act_as_before(plain):
    """Without the C++ compiler of the default backend, which takes a minute."""
    policy, _ = load_policy(plain.weights, runtime='compiled', backend='eager')
    for seed in range(2):
        found = policy.act(small_observation(seed), seeded(seed), previous())
        assert (
            np.abs(found - plain.torch.act(small_observation(seed), seeded(seed), previous())).max() < CLOSE
        )

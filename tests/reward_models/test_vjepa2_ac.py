# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""V-JEPA 2-AC from a folder: the encoder is the real class of transformers, small and with random weights."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.spatial.transform import Rotation

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.world_model.ac_predictor import AcConfig, AcPredictor, turned
from apprentice.reward_models.world_model.vjepa2 import VJepa2Features
from apprentice.reward_models.world_model.vjepa2_ac import cartesian, load_vjepa2_ac, pose_differences

SIZES = AcConfig(dim=32, grid=2, width=48, depth=2, heads=4)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('vjepa2')
    config = transformers.VJEPA2Config(
        patch_size=16, crop_size=32, hidden_size=32, num_attention_heads=2, num_hidden_layers=2,
        pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1,
    )  # fmt: skip
    transformers.VJEPA2Model(config).save_pretrained(path / 'encoder')
    weights = AcPredictor(SIZES).state_dict()
    save_file(
        {f'module.{name}': value.half() for name, value in weights.items()}, path / 'predictor.safetensors'
    )
    return path


def load(folder, **options):
    return load_vjepa2_ac(folder, ('front', 'wrist'), cartesian, rows=3, heads=SIZES.heads, **options)


def test_ranks_chunks_with_two_views(folder):
    model = load(folder)
    rng = np.random.default_rng(0)
    views, goal = rng.integers(0, 255, (2, 2, 48, 40, 3), dtype=np.uint8)
    state, chunks = rng.normal(size=7), rng.normal(size=(5, 7, 7))
    ranking = model.candidates(views, state, chunks, end=model.encode(goal), demonstrated=chunks[2])
    assert ranking.cost.shape == (5,)
    assert np.isfinite(ranking.cost).all()
    assert len(set(ranking.cost)) == 5
    assert ranking.energies['deviation'][2] == 0
    assert np.isnan(ranking.std).all()
    assert np.isnan(ranking.ood).all()


def test_one_chunk_gets_the_same_whatever_is_beside_it(folder):
    model = load(folder)
    rng = np.random.default_rng(1)
    views = rng.integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    state, chunks = rng.normal(size=7), rng.normal(size=(4, 6, 7))
    goal = model.encode(views[::-1].copy())
    together = model.candidates(views, state, chunks, end=goal).cost
    alone = [model.candidates(views, state, chunk[None], end=goal).cost[0] for chunk in chunks]
    np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_encoder_takes_one_frame_as_a_tubelet(folder):
    features = VJepa2Features.load(folder / 'encoder')
    assert (features.tokens, features.dim) == (4, 32)
    image = np.random.default_rng(0).integers(0, 255, (1, 3, 64, 64, 3), dtype=np.uint8)
    found = features.encode(image)
    assert found.shape == (1, 3, 4, 32)
    np.testing.assert_allclose(found.mean(-1), 0, atol=1e-5)
    with pytest.raises(RewardModelError, match='nothing is downloaded unasked'):
        VJepa2Features.load('facebook/vjepa2-vitg-fpc64-256')


def test_the_predictor_is_causal_over_frames_and_listens_to_actions():
    torch.manual_seed(0)
    predictor = AcPredictor(SIZES).eval()
    tokens, actions, states = torch.randn(1, 3, 4, 32), torch.randn(1, 3, 7), torch.randn(1, 3, 7)
    with torch.inference_mode():
        whole = predictor(tokens, actions, states)
        first = predictor(tokens[:, :1], actions[:, :1], states[:, :1])
        torch.testing.assert_close(whole[:, :1], first)
        changed = actions.clone()
        changed[:, 1] += 1
        other = predictor(tokens, changed, states)
    torch.testing.assert_close(whole[:, 0], other[:, 0])
    assert (whole[:, 1:] - other[:, 1:]).abs().amax(dim=(0, 2, 3)).min() > 1e-4


def test_rotary_embedding_keeps_length_only_where_sines_and_pairs_agree():
    x = torch.zeros(1, 1, 2, 4)
    x[..., 0] = 1.0
    found = turned(x, torch.tensor([0.0, 1.0]))[0, 0]
    torch.testing.assert_close(found[0], x[0, 0, 0])
    # entry 0 meets frequency 1, entry 1 frequency 0.01: the convention the weights were trained with
    torch.testing.assert_close(found[1], torch.tensor([np.cos(1.0), np.sin(0.01), 0, 0], dtype=torch.float32))


def test_actions_lead_from_pose_to_pose():
    rng = np.random.default_rng(0)
    poses = rng.uniform(-1, 1, (2, 4, 7))
    actions = pose_differences(poses)
    for n in range(2):
        for t in range(3):
            now, after, action = poses[n, t], poses[n, t + 1], actions[n, t]
            np.testing.assert_allclose(now[[0, 1, 2, 6]] + action[[0, 1, 2, 6]], after[[0, 1, 2, 6]])
            turn = Rotation.from_euler('xyz', action[3:6]) * Rotation.from_euler('xyz', now[3:6])
            np.testing.assert_allclose(
                turn.as_matrix(), Rotation.from_euler('xyz', after[3:6]).as_matrix(), atol=1e-9
            )


def test_what_does_not_fit_is_named(folder, tmp_path):
    with pytest.raises(RewardModelError, match='converted once'):
        load(tmp_path)
    with pytest.raises(RewardModelError, match='is missing'):
        AcPredictor.from_weights({'some.weight': torch.zeros(2)})
    with pytest.raises(RewardModelError, match='do not divide'):
        AcPredictor.from_weights(AcPredictor(SIZES).state_dict(), 2, heads=5)
    lacking = AcPredictor(SIZES).state_dict()
    del lacking['predictor_blocks.0.attn.qkv.weight']
    with pytest.raises(RewardModelError, match=r'predictor_blocks\.0\.attn\.qkv'):
        AcPredictor.from_weights(lacking, 2, SIZES.heads)
    model = load_vjepa2_ac(folder, ('front',), lambda joints: joints[..., :3], rows=3, heads=SIZES.heads)
    view = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(RewardModelError, match='pose_of must give'):
        model.candidates(view, np.zeros(7), np.zeros((2, 3, 7)), end=model.encode(view))

# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A small SmolVLA of the real package as ours: instruction, noise and LeRobot's own real-time chunking.

Needs lerobot with transformers; docs/policies.md says how to run it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.policies.runtime import load_policy
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation

pytest.importorskip('lerobot', reason='lerobot is not installed (see docs/policies.md, LeRobot)')
transformers = pytest.importorskip('transformers', reason='SmolVLA of lerobot needs transformers 4')

JOINTS = RobotSpec.load(share('robots', 'sim_arm.yaml')).joint_names


def vision_language_model(folder: Path) -> None:
    """A SmolVLM with random weights and ten words, as SmolVLA loads one."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ['<image>', '<fake_token_around_image>', '<global-img>', '<end_of_utterance>']
    words = ['<pad>', '<unk>', *special, *['pick', 'up', 'the', 'red', 'cube', 'open']]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token='<unk>'))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token='<pad>', unk_token='<unk>', additional_special_tokens=special
    )
    text = {
        'model_type': 'llama', 'hidden_size': 32, 'intermediate_size': 48, 'num_hidden_layers': 2,
        'num_attention_heads': 4, 'num_key_value_heads': 2, 'head_dim': 8, 'vocab_size': len(words),
        'pad_token_id': 0,
    }  # fmt: skip
    vision = {'hidden_size': 32, 'intermediate_size': 48, 'num_hidden_layers': 2, 'num_attention_heads': 2}
    config = transformers.SmolVLMConfig(
        text_config=text, vision_config={**vision, 'image_size': 32, 'patch_size': 8}, scale_factor=2
    )
    config.save_pretrained(folder)
    sizes = {'size': {'longest_edge': 64}, 'max_image_size': {'longest_edge': 32}}
    images, videos = transformers.SmolVLMImageProcessor(**sizes), transformers.SmolVLMVideoProcessor(**sizes)
    transformers.SmolVLMProcessor(images, tokenizer, videos, image_seq_len=4).save_pretrained(folder)
    # SmolVLA asks the tokenizer for these by name
    file = folder / 'tokenizer_config.json'
    named = {'image_token': special[0], 'fake_image_token': special[1], 'global_image_token': special[2]}
    file.write_text(json.dumps({**json.loads(file.read_text()), 'extra_special_tokens': named}))


@pytest.fixture(scope='module')
def smolvla(tmp_path_factory):
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.factory import make_pre_post_processors
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

    folder = tmp_path_factory.mktemp('smolvla')
    vision_language_model(folder / 'model')
    torch.manual_seed(0)
    config = SmolVLAConfig(
        input_features={
            'observation.images.front': PolicyFeature(FeatureType.VISUAL, (3, 64, 64)),
            'observation.state': PolicyFeature(FeatureType.STATE, (7,)),
        },
        output_features={'action': PolicyFeature(FeatureType.ACTION, (7,))},
        chunk_size=8, n_action_steps=4, vlm_model_name=str(folder / 'model'), load_vlm_weights=False,
        num_vlm_layers=2, resize_imgs_with_padding=(32, 32), max_state_dim=8, max_action_dim=8, num_steps=4,
        tokenizer_max_length=16, device='cpu',
    )  # fmt: skip
    rng = np.random.default_rng(0)
    stats = {
        name: {'mean': rng.normal(size=7).astype('f4'), 'std': rng.uniform(0.5, 2, 7).astype('f4')}
        for name in ('observation.state', 'action')
    }
    policy = SmolVLAPolicy(config).eval()
    before, after = make_pre_post_processors(config, dataset_stats=stats)
    for part in (policy, before, after):
        part.save_pretrained(folder / 'policy')
    settings = {'robot': 'sim_arm', 'mapping': {'names': JOINTS}}
    ours, _ = load_policy(folder / 'policy', runtime='lerobot', settings=settings)
    return ours, policy, before, after


def observation(text: str = 'pick up the red cube') -> Observation:
    rng = np.random.default_rng(1)
    images = {'front': rng.integers(0, 255, (64, 64, 3), np.uint8)}
    return Observation(1.0, images, rng.normal(size=7), text)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_actions_are_those_of_lerobot(smolvla):
    from lerobot.policies.utils import prepare_observation_for_inference

    ours, policy, before, after = smolvla
    seen = observation()
    theirs = {'observation.images.front': seen.images['front'], 'observation.state': seen.state.astype('f4')}
    batch = before(prepare_observation_for_inference(theirs, torch.device('cpu'), seen.text, 'sim_arm'))
    torch.manual_seed(int(torch.randint(0, 2**31, (1,), generator=generator())))
    with torch.no_grad():
        wanted = after(policy.predict_action_chunk(batch))[0].numpy()
    found = ours.act(seen, generator())
    assert np.abs(found - wanted).max() <= 1e-6
    assert np.abs(found - ours.act(seen, generator(1))).max() > 1e-2
    assert np.abs(found - ours.act(observation('open'), generator())).max() > 1e-5


def test_its_own_real_time_chunking_continues_a_chunk(smolvla):
    ours = smolvla[0]
    free = ours.act(observation(), generator(1))
    previous = PreviousChunk(ours.act(observation(), generator())[2:] + 0.3, 3)

    def distance(actions: np.ndarray) -> np.ndarray:
        return np.abs(actions[:6] - previous.actions).mean(1)

    soft, hard = (
        distance(ours.act(observation(), generator(1), previous, RtcConfig(mode)))
        for mode in ('soft', 'hard')
    )
    for held in (soft, hard):
        assert held[:3].max() < 0.1 * distance(free)[:3].min()
    assert soft[3] < 0.3 * hard[3]  # only soft holds rows after the delay too
    np.testing.assert_array_equal(ours.act(observation(), generator(1), previous, RtcConfig('none')), free)
    with pytest.raises(ValueError, match='trained'):
        ours.act(observation(), generator(1), previous, RtcConfig('trained'))

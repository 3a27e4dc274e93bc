# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""LeRobot's ACT and SmolVLA with random weights: chunks planned and samples trained on a second."""

import json
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
import transformers
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.policies.utils import prepare_observation_for_inference
from tokenizers import Tokenizer, models, pre_tokenizers


def features(task: dict) -> dict:
    side, dim = task['side'], task['dim']
    images = {
        f'observation.images.{name}': PolicyFeature(FeatureType.VISUAL, (3, side, side))
        for name in task['cameras']
    }
    return {
        'input_features': {**images, 'observation.state': PolicyFeature(FeatureType.STATE, (dim,))},
        'output_features': {'action': PolicyFeature(FeatureType.ACTION, (dim,))},
        'chunk_size': task['rows'],
        'n_action_steps': task['rows'],
        'device': 'cpu',
    }


def act(task: dict, sizes: dict) -> ACTPolicy:
    return ACTPolicy(ACTConfig(**features(task), **sizes, pretrained_backbone_weights=None))


def smolvla(task: dict, sizes: dict) -> SmolVLAPolicy:
    folder = Path(tempfile.mkdtemp(prefix='lerobot-bench-'))
    write_model(folder, task, sizes)
    return SmolVLAPolicy(
        SmolVLAConfig(
            **features(task),
            vlm_model_name=str(folder),
            num_vlm_layers=sizes['text']['num_hidden_layers'],
            resize_imgs_with_padding=(task['side'], task['side']),
            max_state_dim=task['dim'],
            max_action_dim=task['dim'],
            tokenizer_max_length=16,
        )
    )


def write_model(folder: Path, task: dict, sizes: dict) -> None:
    """A SmolVLM of these sizes with the words of the instruction, as SmolVLA loads one."""
    special = ['<image>', '<fake_token_around_image>', '<global-img>', '<end_of_utterance>']
    words = ['<pad>', '<unk>', *special, *task['text'].split()]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token='<unk>'))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token='<pad>', unk_token='<unk>', additional_special_tokens=special
    )
    text = {'model_type': 'llama', 'vocab_size': len(words), 'pad_token_id': 0, **sizes['text']}
    vision, scale = sizes['vision'], sizes['scale']
    transformers.SmolVLMConfig(
        text_config=text, vision_config=vision, scale_factor=scale
    ).save_pretrained(folder)  # fmt: skip
    size = {'size': {'longest_edge': task['side']}, 'max_image_size': {'longest_edge': task['side']}}
    images, videos = transformers.SmolVLMImageProcessor(**size), transformers.SmolVLMVideoProcessor(**size)
    tokens = (vision['image_size'] // vision['patch_size'] // scale) ** 2
    transformers.SmolVLMProcessor(images, tokenizer, videos, image_seq_len=tokens).save_pretrained(folder)
    file = folder / 'tokenizer_config.json'  # SmolVLA asks the tokenizer for these by name
    named = {'image_token': special[0], 'fake_image_token': special[1], 'global_image_token': special[2]}
    file.write_text(json.dumps({**json.loads(file.read_text()), 'extra_special_tokens': named}))


def planning(policy, before, after, task: dict):
    """From numpy images and state to actions in raw units, as LeRobot's record loop does."""
    rng, side = np.random.default_rng(0), task['side']
    seen = {
        f'observation.images.{name}': rng.integers(0, 256, (side, side, 3), np.uint8)
        for name in task['cameras']
    }
    seen['observation.state'] = rng.normal(size=task['dim']).astype(np.float32)
    policy.eval()

    def one() -> int:
        observed = prepare_observation_for_inference(dict(seen), torch.device('cpu'), task['text'], 'arm')
        with torch.inference_mode():
            after(policy.predict_action_chunk(before(observed))).numpy()
        return 1

    return one


def training(policy, before, task: dict):
    """One step as LeRobot's trainer takes it, on a batch as its data loader hands over."""
    batch, side, rng = task['batch'], task['side'], torch.Generator().manual_seed(0)
    data = {
        f'observation.images.{name}': torch.rand(batch, 3, side, side, generator=rng)
        for name in task['cameras']
    }
    data['observation.state'] = torch.randn(batch, task['dim'], generator=rng)
    data['action'] = torch.randn(batch, task['rows'], task['dim'], generator=rng)
    data['action_is_pad'] = torch.zeros(batch, task['rows'], dtype=torch.bool)
    data['actions_id_pad'] = data['action_is_pad']
    data['task'] = [task['text']] * batch
    policy.train()
    preset = policy.config.get_optimizer_preset()
    optimizer = preset.build(policy.get_optim_params())

    def one() -> int:
        loss, _ = policy.forward(before(dict(data)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), preset.grad_clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        return batch

    return one


def measure(kind: str, what: str, task: dict, sizes: dict, seconds: float) -> dict:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    policy = {'act': act, 'smolvla': smolvla}[kind](task, sizes)
    numbers = {'mean': np.zeros(task['dim'], 'f4'), 'std': np.ones(task['dim'], 'f4')}
    pixels = {'mean': np.full((3, 1, 1), 0.5, 'f4'), 'std': np.full((3, 1, 1), 0.5, 'f4')}
    stats = {'observation.state': numbers, 'action': numbers}
    stats |= {f'observation.images.{name}': pixels for name in task['cameras']}
    before, after = make_pre_post_processors(policy.config, dataset_stats=stats)
    one = planning(policy, before, after, task) if what == 'plan' else training(policy, before, task)
    for _ in range(2):
        one()
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        done += one()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    trained = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    return {
        'value': done / wall,
        'count': done,
        'wall_s': wall,
        'cpu_s': cpu,
        'versions': {name: metadata.version(name) for name in ('lerobot', 'torch', 'transformers')},
        'also': {
            'ms': 1000 * wall / (done / (task['batch'] if what == 'train' else 1)),
            'M parameters': sum(p.numel() for p in policy.parameters()) / 1e6,
            'M trained': trained / 1e6,
        },
    }


if __name__ == '__main__':
    print(json.dumps(measure(**json.loads(sys.argv[1]))))

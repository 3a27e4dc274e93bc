# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Our policy beside LeRobot's ACT and SmolVLA at equal parameter counts: planning and training.

One thread each, random weights, two cameras, equal pictures, chunk and batch. A plan goes from uint8 images
and joints to actions in raw units, with each one's own pre- and postprocessing. A training step is forward,
backward, clipping of the gradient and AdamW on a batch as each one's loader hands it over (LeRobot: float
images, ours: uint8), without augmentation and with one draw of noise a sample; ours also keeps the average of
its weights. Beside ACT runs the tiny backbone, made as large as ACT; ACT answers in one pass, ours takes 5
steps of the flow. Beside SmolVLA runs the same frozen SmolVLM, behind our wrapper, with an expert of the
same layers and about the same size; both take 10 steps. **Nothing is said about how well they act.**
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.bench.measure import numbers, timed
from apprentice.bench.runner import OURS, SHIPPED, Case, Contestant, Ratio

HERE, PEER = 'apprentice.bench.policy_lerobot', 'lerobot_policies'
TASK = {'cameras': ['front', 'wrist'], 'dim': 7, 'rows': 50, 'text': 'pick up the red cube'}
# ACT as shipped, and the tiny backbone and the expert that together are as large
ACT_SIDE, ACT_SIZES = 128, {'dim_model': 512}
TINY = {'width': 512, 'layers': 7, 'heads': 8, 'channels': [64, 128, 256]}
TINY_EXPERT = {'width': 512, 'layers': 9}
# a small SmolVLM
SMOL_SIDE = 64
SMOL = {
    'text': {
        'hidden_size': 512,
        'intermediate_size': 1280,
        'num_hidden_layers': 8,
        'num_attention_heads': 8,
        'num_key_value_heads': 4,
        'head_dim': 64,
    },
    'vision': {
        'hidden_size': 384,
        'intermediate_size': 1536,
        'num_hidden_layers': 6,
        'num_attention_heads': 6,
        'image_size': SMOL_SIDE,
        'patch_size': 8,
    },
    'scale': 2,
}
SMOL_EXPERT = {'width': 352, 'layers': 8, 'heads': 8, 'rope_theta': -1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--batch', type=int, default=8, help='of a training step (default 8)')


def cases(args: argparse.Namespace) -> list[Case]:
    one_thread = {'OMP_NUM_THREADS': '1', 'HF_HUB_OFFLINE': '1', 'TOKENIZERS_PARALLELISM': 'false'}

    def pair(kind: str, name: str, side: int, sizes: dict, own: str, what: str) -> Case:
        task = {**TASK, 'side': side, 'batch': args.batch}
        shared = {'what': what, 'task': task, 'seconds': args.seconds}
        theirs = {**shared, 'kind': kind, 'sizes': sizes}
        unit = 'chunks/s' if what == 'plan' else 'samples/s'
        doing = 'one chunk' if what == 'plan' else f'training, batches of {args.batch}'
        return Case(
            f'{doing}, beside {name}',
            unit,
            [
                Contestant(name, SHIPPED, peer=PEER, parameters=theirs, environment=one_thread),
                Contestant(
                    own, OURS, f'{HERE}:run', parameters={**shared, 'kind': kind}, environment=one_thread
                ),
            ],
            [Ratio(own, name)],
            note=f'two images of {side} x {side}, chunks of {TASK["rows"]} rows',
        )

    of_act = ('act', 'LeRobot ACT', ACT_SIDE, ACT_SIZES, 'tiny backbone and flow expert')
    of_smolvla = ('smolvla', 'LeRobot SmolVLA', SMOL_SIDE, SMOL, 'SmolVLM and flow expert')
    return [pair(*model, what) for model in (of_act, of_smolvla) for what in ('plan', 'train')]


def run(kind: str, what: str, task: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Our row: chunks or samples a second."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    policy = _policy(kind, task)
    counts = [
        sum(p.numel() for p in policy.parameters()),
        sum(p.numel() for p in policy.parameters() if p.requires_grad),
    ]
    one = _planning(policy, task) if what == 'plan' else _training(policy, task)
    for _ in range(2):
        one()
    measured = timed(one, seconds)
    also = {
        'ms': 1000 * (task['batch'] if what == 'train' else 1) / measured['value'],
        'M parameters': counts[0] / 1e6,
        'M trained': counts[1] / 1e6,
    }
    return numbers(measured, 'torch', 'transformers', **also)


def _policy(kind: str, task: dict[str, Any]) -> Any:
    from apprentice.policies.backbones.huggingface import HuggingFaceConfig
    from apprentice.policies.backbones.tiny import TinyConfig
    from apprentice.policies.config import PolicyConfig
    from apprentice.policies.expert import ExpertConfig
    from apprentice.policies.policy import FlowPolicy
    from apprentice.policies.spec import PolicySpec
    from apprentice.robot.normalize import Statistics

    names = tuple(f'joint{i}' for i in range(task['dim']))
    ones = np.ones(task['dim'])
    statistics = Statistics(0 * ones, ones, -2 * ones, 2 * ones, 1)
    cameras = {name: (task['side'], task['side']) for name in task['cameras']}
    spec = PolicySpec('arm', names, (True,) * len(names), cameras, task['rows'], 0.02, statistics, statistics)
    backbone: Any
    if kind == 'act':
        backbone, expert, steps = TinyConfig(**TINY), ExpertConfig(**TINY_EXPERT), 5  # type: ignore[arg-type]
    else:
        folder = tempfile.mkdtemp(prefix='apprentice-bench-')
        _write_model(Path(folder), task)
        backbone = HuggingFaceConfig(model=folder, freeze=True, state_tokens=1)
        expert, steps = ExpertConfig(**SMOL_EXPERT), 10  # type: ignore[arg-type]
    return FlowPolicy(spec, PolicyConfig(backbone=backbone, expert=expert, denoise_steps=steps))


def _write_model(folder: Path, task: dict[str, Any]) -> None:
    """A SmolVLM of random weights with the words of the instruction, as ``save_pretrained`` leaves it."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ['<image>', '<video>', '<fake_token_around_image>', '<global-img>', '<end_of_utterance>']
    words = ['<pad>', '<unk>', '<bos>', '<eos>', *special, 'User:', 'Assistant:', *task['text'].split()]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token='<unk>'))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token='<pad>', unk_token='<unk>', bos_token='<bos>', eos_token='<eos>',
        additional_special_tokens=special, padding_side='left',
    )  # fmt: skip
    text = {'model_type': 'llama', 'vocab_size': len(words), 'pad_token_id': 0, **SMOL['text']}  # type: ignore[dict-item]
    image = tokenizer.convert_tokens_to_ids('<image>')
    config = transformers.SmolVLMConfig(
        text_config=text, vision_config=SMOL['vision'], scale_factor=SMOL['scale'], image_token_id=image
    )
    side = {'longest_edge': task['side']}
    sizes = {'size': side, 'max_image_size': side}
    template = (
        '{% for m in messages %}{% for c in m.content %}{% if c.type == "image" %}<image>'
        '{% else %}{{ c.text }}{% endif %}{% endfor %}{% endfor %}'
    )
    vision: dict[str, Any] = SMOL['vision']  # type: ignore[assignment]
    processor = transformers.SmolVLMProcessor(
        transformers.SmolVLMImageProcessor(**sizes, do_image_splitting=False),
        tokenizer,
        transformers.SmolVLMVideoProcessor(**sizes),
        image_seq_len=(vision['image_size'] // vision['patch_size'] // int(SMOL['scale'])) ** 2,  # type: ignore[call-overload]
        chat_template=template,
    )
    transformers.SmolVLMForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)


def _planning(policy: Any, task: dict[str, Any]) -> Any:
    import torch

    from apprentice.robot.types import Observation

    rng = np.random.default_rng(0)
    images = {
        name: rng.integers(0, 256, (task['side'], task['side'], 3), np.uint8) for name in task['cameras']
    }
    seen = Observation(0.0, images, rng.normal(size=task['dim']), task['text'])
    generator = torch.Generator().manual_seed(0)
    policy.eval()

    def one() -> int:
        policy.act(seen, generator)
        return 1

    return one


def _training(policy: Any, task: dict[str, Any]) -> Any:
    import torch

    from apprentice.learning.dataset import Batch
    from apprentice.learning.weighted_flow import WeightedFlow, WeightedFlowConfig
    from apprentice.policies.prefix import Inputs

    size, side, g = task['batch'], task['side'], torch.Generator().manual_seed(0)
    images = {
        name: torch.randint(0, 256, (size, side, side, 3), dtype=torch.uint8, generator=g)
        for name in task['cameras']
    }
    state = torch.randn(size, task['dim'], generator=g)
    actions = torch.randn(size, task['rows'], task['dim'], generator=g)
    valid = torch.ones(size, task['rows'], dtype=torch.bool)
    batch = Batch(Inputs(images, state, [task['text']] * size), actions, valid, torch.ones(size))
    config = WeightedFlowConfig(learning_rate=1e-4, batch=size, draws=1, clip=10.0, shift=0, light=0.0)
    algorithm = WeightedFlow(policy.train(), config)

    def one() -> int:
        losses = algorithm.objective(batch, algorithm.draw(size))
        algorithm.optimizer.zero_grad(set_to_none=True)
        losses['loss'].backward()
        algorithm.apply(float(losses['loss'].detach()))
        return size

    return one

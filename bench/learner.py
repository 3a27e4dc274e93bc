# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Updates of the learner: our core beside a plain PyTorch loop, Stable-Baselines3's SAC and LeRobot's.

Random transitions, one thread, no GPU. An update draws its batch, steps all networks and moves the targets.
Beside the loop runs our default, FlowEdit: an ensemble of critics on chunks whose targets look at all
candidates; the loop has the same networks, one after the other. Beside the other two runs our SAC with as
many critics, layers and widths as theirs, one action a step; LeRobot's networks share the first layer, which
ours has in each. Rows with bfloat16 compute products in half the bits: ours those between hidden layers, by
its setting ``critic.precision``; the peers in ``torch.autocast``, which they do not offer themselves.
**Nothing is said about how well they learn.**
"""

from __future__ import annotations

import argparse
import copy
from typing import Any, Literal

from apprentice.bench.measure import numbers, timed
from apprentice.bench.runner import OURS, SHIPPED, TUNED, Case, Contestant, Ratio

HERE = 'apprentice.bench.learner'
ROWS, ACTIONS, HELD = 8, 7, 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--batch', type=int, default=256, help='transitions of a batch (default 256)')
    parser.add_argument('--feature', type=int, default=80, help='numbers of an observation (default 80)')
    parser.add_argument('--width', type=int, default=256, help='of the hidden layers (default 256)')
    parser.add_argument('--members', type=int, default=10, help='critics of the ensemble (default 10)')
    parser.add_argument('--candidates', type=int, default=8, help='chunks a target looks at (default 8)')
    parser.add_argument('--threads', type=int, default=1, help='of each contestant (default 1)')


def cases(args: argparse.Namespace) -> list[Case]:
    threads = {'OMP_NUM_THREADS': str(args.threads), 'MKL_NUM_THREADS': str(args.threads)}
    common = {'batch': args.batch, 'feature': args.feature, 'width': args.width, 'seconds': args.seconds}
    chunks = common | {'members': args.members, 'candidates': args.candidates}
    half = {'precision': 'bfloat16'}

    def ours(name: str, function: str, parameters: dict[str, Any]) -> Contestant:
        kind = SHIPPED if function == 'loop' else OURS
        return Contestant(name, kind, f'{HERE}:{function}', parameters=parameters, environment=threads)

    def peer(name: str, kind: str, library: str, **options: bool) -> Contestant:
        parameters = common | {'actions': ACTIONS, 'held': HELD} | options
        return Contestant(name, kind, peer=library, script=f'{library}_sac', parameters=parameters,
                          environment=threads)  # fmt: skip

    chunk_title = f'{args.members} critics on chunks, {args.candidates} candidates'
    sac_title = f'SAC, 2 critics, batches of {args.batch}'
    return [
        Case(
            chunk_title,
            'updates/s',
            [
                ours('plain loop', 'loop', chunks),
                ours('our core', 'core', chunks),
                ours('our core, bfloat16', 'core', chunks | half),
            ],
            [Ratio('our core', 'plain loop', 0.9), Ratio('our core, bfloat16', 'our core')],
            note='critics alone, as at 19 of 20 updates; both choose by the mean and take the smallest of 2',
        ),
        Case(
            sac_title + ', ReLU, 2 hidden layers',
            'updates/s',
            [
                peer('Stable-Baselines3', SHIPPED, 'stable_baselines3'),
                peer('Stable-Baselines3, bfloat16', TUNED, 'stable_baselines3', bfloat16=True),
                ours('our SAC', 'sac', common | {'like': 'stable_baselines3'}),
                ours('our SAC, bfloat16', 'sac', common | {'like': 'stable_baselines3'} | half),
            ],
            [
                Ratio('our SAC', 'Stable-Baselines3', 1.5),
                Ratio('our SAC, bfloat16', 'Stable-Baselines3', 1.5),
                Ratio('our SAC, bfloat16', 'Stable-Baselines3, bfloat16'),
            ],
        ),
        Case(
            sac_title + ', LayerNorm, SiLU, 3 hidden layers',
            'updates/s',
            [
                peer('LeRobot, compiled', SHIPPED, 'lerobot', compiled=True),
                peer('LeRobot', TUNED, 'lerobot', compiled=False),
                peer('LeRobot, bfloat16', TUNED, 'lerobot', compiled=False, bfloat16=True),
                ours('our SAC', 'sac', common | {'like': 'lerobot'}),
                ours('our SAC, bfloat16', 'sac', common | {'like': 'lerobot'} | half),
            ],
            [
                Ratio('our SAC', 'LeRobot, compiled', 1.5),
                Ratio('our SAC', 'LeRobot', 1.5),
                Ratio('our SAC, bfloat16', 'LeRobot', 1.5),
                Ratio('our SAC, bfloat16', 'LeRobot, bfloat16'),
            ],
        ),
    ]


def _transitions(feature: int, rows: int, candidates: int) -> Any:
    """A table of random transitions, and what draws a batch from it."""
    import torch

    from apprentice.learning.rl.base import ChunkBatch
    from apprentice.learning.rl.table import Table

    g, table = torch.Generator().manual_seed(0), Table()

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(HELD, *shape, generator=g)

    table.append(
        feature=random(feature),
        action=random(rows, ACTIONS),
        valid=torch.ones(HELD, rows, dtype=torch.bool),
        reward=random(),
        discount=torch.full((HELD,), 0.9),
        next_feature=random(feature),
        candidates=random(candidates, rows, ACTIONS),
        next_candidates=random(candidates, rows, ACTIONS),
        human=torch.rand(HELD, generator=g) < 0.5,
    )
    return lambda size: ChunkBatch(**table.rows(torch.randint(HELD, (size,), generator=g)))


def core(
    batch: int,
    feature: int,
    width: int,
    members: int,
    candidates: int,
    seconds: float,
    precision: Literal['float32', 'bfloat16'] = 'float32',
) -> dict:
    """Our row beside the loop: the critic steps of FlowEdit before it edits."""
    from apprentice.learning.rl.base import Sizes
    from apprentice.learning.rl.core import CriticConfig
    from apprentice.learning.rl.flow_edit import FlowEdit, FlowEditConfig

    critic = CriticConfig(members, hidden=(width, width), precision=precision)
    config = FlowEditConfig(critic, warm_up=1 << 30)
    algorithm = FlowEdit(Sizes(feature, ROWS, ACTIONS), config)
    return _measure(algorithm.update, _transitions(feature, ROWS, candidates), batch, seconds)


def sac(
    batch: int,
    feature: int,
    width: int,
    like: str,
    seconds: float,
    precision: Literal['float32', 'bfloat16'] = 'float32',
) -> dict:
    """Our row beside a peer's SAC."""
    from apprentice.learning.rl.base import Sizes
    from apprentice.learning.rl.core import CriticConfig
    from apprentice.learning.rl.rlpd_sac import RlpdSac, RlpdSacConfig

    normed = like == 'lerobot'
    hidden, act = (width,) * (3 if normed else 2), 'silu' if normed else 'relu'
    critic = CriticConfig(2, 2, hidden=hidden, layer_norm=normed, activation=act, precision=precision)
    config = RlpdSacConfig(critic, hidden, normed, act, actor_every=1, entropy_backup=True)
    algorithm = RlpdSac(Sizes(feature, 1, ACTIONS), config)
    return _measure(algorithm.update, _transitions(feature, 1, 1), batch, seconds)


def loop(batch: int, feature: int, width: int, members: int, candidates: int, seconds: float) -> dict:
    """The loop: one network after the other, as a user would write it."""
    import torch
    from torch import nn

    inputs = feature + ROWS * ACTIONS
    torch.manual_seed(0)
    critics = nn.ModuleList(
        nn.Sequential(
            nn.Linear(inputs, width), nn.LayerNorm(width), nn.ReLU(),
            nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(),
            nn.Linear(width, 1),
        )
        for _ in range(members)
    )  # fmt: skip
    targets = copy.deepcopy(critics).requires_grad_(False)
    optimizer = torch.optim.Adam(critics.parameters(), lr=3e-4)

    def update(drawn: Any) -> None:
        with torch.no_grad():
            chunks = drawn.next_candidates.flatten(2)
            seen = drawn.next_feature[:, None].expand(-1, chunks.shape[1], -1)
            planned = torch.cat([seen, chunks], -1)
            values = torch.stack([target(planned)[..., 0] for target in targets])
            best = values.mean(0).argmax(1)
            chosen = values[:, torch.arange(len(best)), best]
            smallest = chosen[torch.randperm(members)[:2]].amin(0)
            wanted = drawn.reward + drawn.discount * smallest
        done = torch.cat([drawn.feature, drawn.action.flatten(1)], -1)
        loss = torch.stack([(critic(done)[:, 0] - wanted).square().mean() for critic in critics]).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(critics.parameters(), 10.0)
        optimizer.step()
        loss.item()
        with torch.no_grad():
            for target, online in zip(targets.parameters(), critics.parameters(), strict=True):
                target.lerp_(online, 0.005)

    return _measure(update, _transitions(feature, ROWS, candidates), batch, seconds)


def _measure(update: Any, draw: Any, batch: int, seconds: float) -> dict:
    import torch

    def one() -> int:
        update(draw(batch))
        return 1

    for _ in range(3):
        one()
    measured = timed(one, seconds)
    also = {'ms an update': 1000 / measured['value'], 'threads': float(torch.get_num_threads())}
    return numbers(measured, 'torch', **also)

# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Updates per second of LeRobot's SAC (HIL-SERL), in the order of its learner, on random transitions.

Critics, actor, temperature and targets are stepped once each, with the gradients clipped and the numbers read
that its learner logs. Its buffer is its own.
"""

import json
import sys
import time
from importlib import metadata

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.sac.configuration_sac import ActorNetworkConfig, CriticNetworkConfig, SACConfig
from lerobot.policies.sac.modeling_sac import SACPolicy
from lerobot.rl.buffer import ReplayBuffer

STATE = 'observation.state'


def measure(
    batch: int,
    feature: int,
    width: int,
    actions: int,
    held: int,
    seconds: float,
    compiled: bool,
    bfloat16: bool = False,
) -> dict:
    torch.manual_seed(0)
    config = SACConfig(
        input_features={STATE: PolicyFeature(FeatureType.STATE, (feature,))},
        output_features={'action': PolicyFeature(FeatureType.ACTION, (actions,))},
        device='cpu',
        latent_dim=width,
        critic_network_kwargs=CriticNetworkConfig(hidden_dims=[width, width]),
        actor_network_kwargs=ActorNetworkConfig(hidden_dims=[width, width]),
        use_torch_compile=compiled,
    )
    policy = SACPolicy(config).train()
    actor = [p for name, p in policy.actor.named_parameters() if not name.startswith('encoder')]
    groups = {'critic': list(policy.critic_ensemble.parameters()), 'actor': actor}
    groups['temperature'] = [policy.log_alpha]
    optimizers = {name: torch.optim.Adam(group, lr=3e-4) for name, group in groups.items()}
    buffer = ReplayBuffer(held, 'cpu', [STATE], use_drq=False, optimize_memory=True)
    for _ in range(held):
        now, then = ({STATE: torch.randn(1, feature)} for _ in range(2))
        buffer.add(now, torch.rand(1, actions) * 2 - 1, 0.0, then, False, False)
    batches = buffer.get_iterator(batch_size=batch, async_prefetch=False, queue_size=2)

    def update() -> None:
        drawn = next(batches)
        for name in ('critic', 'actor', 'temperature'):
            with torch.autocast('cpu', torch.bfloat16, enabled=bfloat16):
                loss = policy.forward(drawn, model=name)[f'loss_{name}']
            optimizers[name].zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(groups[name], config.grad_clip_norm).item()
            optimizers[name].step()
            loss.item()
        policy.update_target_networks()

    for _ in range(3):
        update()
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        update()
        done += 1
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        'value': done / wall,
        'count': done,
        'wall_s': wall,
        'cpu_s': cpu,
        'versions': {name: metadata.version(name) for name in ('lerobot', 'torch')},
        'also': {'ms an update': 1000 * wall / done},
    }


if __name__ == '__main__':
    print(json.dumps(measure(**json.loads(sys.argv[1]))))

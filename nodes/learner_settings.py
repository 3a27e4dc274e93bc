# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The parameters of the learner's process."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from rclpy.node import Node

from apprentice.learning.advantage import AdvantageConfig
from apprentice.learning.distributed import Ranks, join
from apprentice.learning.fleet import FleetConfig
from apprentice.learning.follower_processes import started
from apprentice.learning.leader import PATIENCE
from apprentice.learning.learner import LearnerConfig
from apprentice.learning.probe_set import ProbeConfig
from apprentice.learning.recipe import load_recipe
from apprentice.learning.weighted_flow import WeightedFlowConfig
from apprentice.nodes.robot_file import task_duration
from apprentice.nodes.runtime import StartupError, parameter
from apprentice.robot.spec import RobotSpec


def learner_config(node: Node, spec: RobotSpec) -> LearnerConfig:
    """How it learns, from the parameters and the recipe. Raises StartupError for a recipe with an error."""
    config = LearnerConfig(
        updates_per_episode=parameter(
            node, 'updates_per_episode', 50, 'gradient steps per episode', 0, 10000
        ),
        publish_every=parameter(node, 'publish_every', 100, 'gradient steps between versions', 1, 100000),
        force_rewards=parameter(
            node, 'force_rewards', False, 'learn also from reward models that a clock or a cosine beats'
        ),
        advantage=AdvantageConfig(
            model=parameter(node, 'reward_model', '', 'model whose progress weighs the steps'),
            rewards=parameter(
                node, 'reward_pipeline', '', 'YAML of calibration and shaping; empty: progress as it is'
            ),
        ),
        algorithm=WeightedFlowConfig(
            learning_rate=parameter(node, 'learning_rate', 4e-4, 'of AdamW', 0.0, 1.0),
            batch=parameter(node, 'batch', 32, 'samples per gradient step', 1, 4096),
            ema=0.99,
        ),
        probe=_probe(node),
        fleet=FleetConfig(
            floor=parameter(
                node, 'weak_robot_floor', 0.5, 'smallest part of an equal share for a robot', 0.0, 1.0
            )
        ),
    )  # fmt: skip
    about = 'how it learns: a YAML file or a shipped name; weighted_flow: the policy alone, by progress'
    try:
        config = load_recipe(parameter(node, 'recipe', 'flow_edit', about), config)
    except (OSError, ValueError) as error:
        raise StartupError(f'recipe: {error}') from error
    about = (
        'longest episode [s], of which critics see how much is over; 0: that of the simulated task; less '
        "than the recipe's counts as that"
    )
    longest_s = parameter(node, 'max_duration_s', 0.0, about, 0.0, 3600.0)
    if config.online is None:  # nobody asks, and a task would load the simulator
        return config
    return _with_time(config, longest_s or task_duration(spec))


def _with_time(config: LearnerConfig, longest_s: float) -> LearnerConfig:
    """Critics that can tell the time in episodes as long as the episode node lets them be."""
    online = config.online
    if online is None or longest_s <= online.windows.duration_s:
        return config
    windows = replace(online.windows, duration_s=longest_s)
    return replace(config, online=replace(online, windows=windows))


def learner_ranks(node: Node) -> AbstractContextManager[Ranks]:
    """The processes that learn together, connected while it lasts; started here, or by torchrun before.

    Raises StartupError where both were asked for.
    """
    about = 'processes that share the updates, each with a GPU of its own if there are any'
    count = parameter(node, 'processes', 1, about, 1, 64)
    device = parameter(
        node, 'device', 'cpu', 'where it computes: auto, cpu, cuda or, alone, one such as cuda:1'
    )
    if int(os.environ.get('WORLD_SIZE', '1')) == 1:
        return join(device) if count == 1 else started(count, device)
    if count > 1:
        raise StartupError('torchrun has started the processes; leave the parameter processes at 1')
    return join(device, PATIENCE)


def _probe(node: Node) -> ProbeConfig:
    default = ProbeConfig()
    return ProbeConfig(
        observations=parameter(
            node, 'probe_observations', default.observations,
            'observations that a candidate is asked about before it is published; 0: none', 0, 10000,
        ),
        max_change=parameter(
            node, 'probe_max_change', default.max_change,
            'largest change of an action against the acting version, standard deviations; 0: any', 0.0, 1e6,
        ),
        held_out=parameter(
            node, 'probe_held_out', default.held_out,
            'demonstrations that are not learned from, but that a candidate must not do worse on', 0, 10000,
        ),
        failures=parameter(
            node, 'probe_failures', default.failures,
            'candidates that fail in a row before training goes back to the newest version', 0, 1000,
        ),
    )  # fmt: skip


def robot_folders(node: Node) -> dict[str, Path]:
    """Namespace -> run folder of the robots that are learned from; empty: the learner's own.

    Raises StartupError where the two parameters do not fit each other.
    """
    robots = parameter(node, 'robots', [''], "namespaces of the robots to learn from; empty: the node's own")
    folders = parameter(node, 'run_dirs', [''], 'their run folders, in the same order')
    names = [name.strip('/') for name in robots if name.strip('/')]
    folders = [Path(folder).expanduser() for folder in folders if folder]
    if len(names) != len(folders) or len({*names}) != len(names):
        raise StartupError(
            f'robots {names} and run_dirs {[str(folder) for folder in folders]} do not fit: name each robot '
            'once, and give a run folder for each, in the same order'
        )
    return dict(zip(names, folders))

# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""train a policy (bc) or reward models (clip, critic) from recorded episodes"""

from __future__ import annotations

import argparse
import importlib

from apprentice.cli import train_bc


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``apprentice train``: a subcommand per kind of model."""
    kinds = parser.add_subparsers(dest='kind', metavar='KIND', required=True)
    train_bc.add_arguments(kinds.add_parser('bc', help='behaviour cloning of a VLA policy'))
    rewards = importlib.import_module('apprentice.cli.train_rewards')
    rewards.clip_arguments(
        kinds.add_parser('clip', help='CLIP reward model on simulator renders and captions')
    )
    rewards.critic_arguments(kinds.add_parser('critic', help='pairwise progress critic on CLIP embeddings'))


def run(args: argparse.Namespace) -> int:
    """Dispatch on the kind."""
    if args.kind == 'bc':
        return train_bc.run(args)
    rewards = importlib.import_module('apprentice.cli.train_rewards')
    return rewards.clip_run(args) if args.kind == 'clip' else rewards.critic_run(args)

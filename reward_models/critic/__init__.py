# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The pairwise progress critic: what it looks through, its network, its training."""

from apprentice.reward_models.critic.critic import ProgressCritic

__all__ = ['ProgressCritic']

# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""CLIP and SigLIP models as rewards: encoder, prompts, goals, ONNX, training."""

from apprentice.reward_models.clip.reward import ClipReward

__all__ = ['ClipReward']

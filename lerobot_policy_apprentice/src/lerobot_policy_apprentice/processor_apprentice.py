# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Processors of the policy type ``apprentice``: batch and device only, raw units pass through.

The policy normalises by its own statistics. The (un)normaliser steps are there, with the mode IDENTITY,
because lerobot-train addresses them by name when it goes on from a checkpoint.
"""

from __future__ import annotations

from typing import Any

from lerobot.processor import (
    AddBatchDimensionProcessorStep,
    DeviceProcessorStep,
    NormalizerProcessorStep,
    PolicyProcessorPipeline,
    RenameObservationsProcessorStep,
    UnnormalizerProcessorStep,
)
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action
from lerobot.utils.constants import POLICY_POSTPROCESSOR_DEFAULT_NAME, POLICY_PREPROCESSOR_DEFAULT_NAME

from lerobot_policy_apprentice.configuration_apprentice import ApprenticeConfig


def make_apprentice_pre_post_processors(
    config: ApprenticeConfig, dataset_stats: dict[str, dict[str, Any]] | None = None
) -> tuple[PolicyProcessorPipeline, PolicyProcessorPipeline]:
    """(pre-processor, post-processor). ``dataset_stats`` is not used."""
    outputs = config.output_features or {}
    before = [
        RenameObservationsProcessorStep(rename_map={}),
        AddBatchDimensionProcessorStep(),
        DeviceProcessorStep(device=config.device),
        NormalizerProcessorStep(
            features={**(config.input_features or {}), **outputs}, norm_map=config.normalization_mapping
        ),
    ]
    after = [
        UnnormalizerProcessorStep(features=outputs, norm_map=config.normalization_mapping),
        DeviceProcessorStep(device='cpu'),
    ]
    return (
        PolicyProcessorPipeline(steps=before, name=POLICY_PREPROCESSOR_DEFAULT_NAME),
        PolicyProcessorPipeline(
            steps=after,
            name=POLICY_POSTPROCESSOR_DEFAULT_NAME,
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )

# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Settings of the graded protocol from a file."""

from __future__ import annotations

import pytest

from apprentice.learning.guidance.config import GuidanceConfig
from apprentice.robot.settings import SettingsError


def test_settings_from_a_file(tmp_path):
    path = tmp_path / 'guidance.yaml'
    path.write_text('grades: [2, 4]\nstall_s: 6\n')
    config = GuidanceConfig.load(path)
    assert (config.grades, config.stall_s, config.drop) == ((2, 4), 6.0, 0.2)
    path.write_text('')
    assert GuidanceConfig.load(path) == GuidanceConfig()


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('stal_s: 6', 'guidance has no .*stal_s.*stall_s'),
        ('stall_s: never', 'guidance.stall_s is .never.'),
        ('return_share: 1.5', 'guidance.return_share is 1.5; give a number within 0 to 1'),
        ('grades: [0, 5]', r'guidance.grades is \[0, 5\]'),
        ('demonstration_share: 0.2', 'guidance has no .*demonstration_share'),
        ('starts: colour', 'guidance.starts is .colour.; use one of'),
        ('recovered: 0.2', 'below low_success'),
        ('[1, 2]', 'give a mapping'),
        ('a: [', 'is not YAML'),
    ],
)
def test_wrong_settings_are_named_with_the_file(tmp_path, text, says):
    path = tmp_path / 'guidance.yaml'
    path.write_text(text)
    with pytest.raises(SettingsError, match=says) as caught:
        GuidanceConfig.load(path)
    assert str(path) in str(caught.value)

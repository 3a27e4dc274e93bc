# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Models, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from apprentice.bench.small_vlm import FAMILIES


@pytest.fixture(scope='session')
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family, made at its first use. Do not change it."""
    root, made = tmp_path_factory.mktemp('models'), {}

    def make(family: str) -> Path:
        if family not in made:
            made[family] = root / family
            FAMILIES[family](made[family], context=96)
        return made[family]

    return make


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest, make_model: Callable[[str], Path]) -> Path:
    """The folder of each family in turn; its name is the family."""
    return make_model(request.param)


@pytest.fixture
def qwen(make_model: Callable[[str], Path]) -> Path:
    return make_model('qwen2_5_vl')

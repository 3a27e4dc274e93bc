# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Images of another size."""

import numpy as np
import pytest
from PIL import Image

from apprentice.robot.resize import resize


@pytest.mark.parametrize('size', [(30, 40), (16, 100), (96, 60), (7, 9)])
def test_stretch_is_bilinear_without_aliasing(size):
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 48, 64, 3), np.uint8)
    out = resize(images, size, 'stretch')
    assert out.shape == (2, 3, *size, 3)
    assert out.dtype == np.uint8
    wanted = Image.fromarray(images[1, 2]).resize(size[::-1], Image.Resampling.BILINEAR)
    assert np.abs(out[1, 2].astype(int) - np.asarray(wanted)).max() <= 1


@pytest.mark.parametrize(
    ('size', 'rows', 'columns'), [((40, 40), (5, 35), (0, 40)), ((60, 100), (0, 60), (10, 90))]
)
def test_pad_keeps_the_aspect_ratio_in_the_middle(size, rows, columns):
    out = resize(np.full((48, 64, 3), 200, np.uint8), size, 'pad')
    wanted = np.zeros((*size, 3), np.uint8)
    wanted[slice(*rows), slice(*columns)] = 200
    np.testing.assert_array_equal(out, wanted)


def test_the_same_size_is_the_same_image_and_other_methods_are_errors():
    image = np.zeros((4, 5, 3), np.uint8)
    assert resize(image, (4, 5), 'pad') is image
    with pytest.raises(ValueError, match='stretch'):
        resize(image, (5, 5), '')

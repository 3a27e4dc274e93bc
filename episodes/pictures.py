# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Frames as pictures that a browser shows."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Picture


def jpeg(image: np.ndarray) -> bytes:
    """uint8 [H, W, 3] RGB as JPEG; small pictures are hardly compressed."""
    buffer = io.BytesIO()
    small = image.shape[1] <= 160  # shown enlarged: artefacts would be too
    Picture.fromarray(image).save(buffer, 'JPEG', quality=95 if small else 80, subsampling=0 if small else 2)
    return buffer.getvalue()

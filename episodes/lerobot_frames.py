# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Images of a LeRobotDataset: frames of mp4 files, or PNG and JPEG bytes inside parquet."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.episodes.lerobot_meta import LeRobotDatasetError


def video_frames(path: Path, times: np.ndarray, period: float) -> np.ndarray:
    """The frames shown at ``times`` [n] seconds of an mp4 file, uint8 [n, H, W, 3] RGB.

    Args:
        period: seconds between frames; a frame more than half of it away from a time does not count.

    Raises LeRobotDatasetError for a missing or damaged file and for a frame that is not there.
    """
    av = import_av()
    try:
        with av.open(str(path)) as container:
            order = np.argsort(times, kind='stable')
            images: list[Any] = [None] * len(times)
            for place, frame in zip(order, _walk(container, times[order], 0.5 * period)):
                if frame is None:
                    raise LeRobotDatasetError(
                        f'{path} has no frame at {times[place]:.3f} s; the episode has more rows than '
                        'the video has frames: copy it again, or record again'
                    )
                images[place] = frame.to_ndarray(format='rgb24')
    except LeRobotDatasetError:
        raise
    except (OSError, IndexError, ValueError) as error:  # av's own errors are among these
        raise LeRobotDatasetError(f'{path} is missing or damaged ({error}); copy it again') from None
    return np.stack(images)


def _walk(container: Any, times: np.ndarray, near: float) -> Iterator[Any]:
    """The frame at each of the rising ``times``, None where there is none within ``near`` seconds."""
    stream = container.streams.video[0]
    frame, decoded = None, iter(())
    ahead = 6 * near  # how far it is worth to decode on; at least the distance of key frames that was seen
    for wanted in times:
        if frame is None or wanted > frame.time + ahead:
            # to the key frame before
            container.seek(max(0, int((wanted - near) / stream.time_base)), stream=stream)
            decoded = container.decode(stream)
            frame = next(decoded, None)
            ahead = max(ahead, wanted - frame.time) if frame is not None else ahead
        while frame is not None and frame.time < wanted - near:
            frame = next(decoded, None)
        yield frame if frame is not None and frame.time <= wanted + near else None


def decode_images(encoded: Sequence[bytes | None], where: str) -> np.ndarray:
    """PNG or JPEG files as uint8 [n, H, W, 3] RGB. Raises LeRobotDatasetError naming ``where``."""
    from PIL import Image

    images = []
    for data in encoded:
        if not data:
            raise LeRobotDatasetError(
                f'{where} holds the name of an image file instead of the image; write the dataset again with '
                'the installed version of lerobot'
            )
        try:
            with Image.open(io.BytesIO(data)) as image:
                images.append(np.asarray(image.convert('RGB')))
        except OSError as error:
            raise LeRobotDatasetError(f'{where} holds a damaged image ({error}); copy it again') from None
    return np.stack(images)


def import_av() -> Any:
    """The module av. Raises ImportError that names the extra to install."""
    try:
        import av
    except ImportError:
        raise ImportError(
            "LeRobot datasets need pyarrow and av: pip install 'apprentice[lerobot-dataset]'"
        ) from None
    return av

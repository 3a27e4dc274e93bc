# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What saves encoder calls: caches of images and texts, still frames, batches over cameras and robots."""

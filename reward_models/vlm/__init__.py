# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Vision-language models of Hugging Face as critics: token probabilities are read."""

"""Hooks for training."""

from mmlevelset.requirements import require_openmmlab

require_openmmlab()

from mmlevelset.engine.channels_last import ChannelsLastHook  # noqa: E402
from mmlevelset.engine.checkpoint import CheckpointHook  # noqa: E402
from mmlevelset.engine.evolution import EvolutionHook  # noqa: E402
from mmlevelset.engine.freeze import FreezeHook  # noqa: E402
from mmlevelset.engine.mean_loss import MeanLossHook  # noqa: E402
from mmlevelset.engine.missed_validation import MissedValidationHook  # noqa: E402
from mmlevelset.engine.nonfinite import NonFiniteLossHook  # noqa: E402
from mmlevelset.engine.reseed import ReseedHook  # noqa: E402

__all__ = [
    "ChannelsLastHook",
    "CheckpointHook",
    "EvolutionHook",
    "FreezeHook",
    "MeanLossHook",
    "MissedValidationHook",
    "NonFiniteLossHook",
    "ReseedHook",
]

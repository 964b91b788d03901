"""Which Triton models the server loads before anything else: known without the adapters, which take
as long to import as it to start.
"""

from __future__ import annotations

from typing import Final

from orchestrator.core.config import ServiceConfig
from orchestrator.core.types import LipSyncModel

BUILT_IN: Final = ("audio2motion", "tpsm", "tpsm_speech")
"""The Triton models of `tpsm` and their ensemble: they come with this package, and are ready in
half a second.
"""


def loaded_first(config: ServiceConfig) -> tuple[str, ...]:
    """What sessions can speak with as soon as the service listens; until its default model is
    loaded too, if that is another.
    """
    return BUILT_IN if config.serves(LipSyncModel.TPSM) else ()

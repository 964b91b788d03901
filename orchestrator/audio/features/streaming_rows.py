"""Feature rows of a turn, computed from its samples on first use, each only once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestrator.audio.features.decibel_mel import LIMIT, decibel_mel_frames, emphasise
from orchestrator.audio.features.log_mel import log_mel_frames, signal_windows
from orchestrator.audio.row_buffer import RowBuffer
from orchestrator.core.types import FeatureSpec, MelScale, MelSpec, Samples


class FeatureRows:
    """Rows of one kind of feature.

    Row i of a mel spectrogram is centred on sample `i * hop_length`, of a waveform begins there.
    """

    def __init__(self, spec: FeatureSpec, first_sample: int) -> None:
        """Start without rows.

        `first_sample` is the oldest kept sample of the turn; rows that need earlier ones cannot be
        computed.
        """
        self._spec = spec
        first = -(-(first_sample + behind_samples(spec)) // spec.hop_length)
        self._rows = RowBuffer(columns(spec), first)

    @property
    def first(self) -> int:
        """Number of the oldest row kept."""
        return self._rows.first

    def extend(self, samples: RowBuffer) -> None:
        """Compute every row that the samples `[*, 1]` complete."""
        spec, begin = self._spec, self._rows.end
        end = (samples.end - spec.reach_samples) // spec.hop_length + 1
        if end > begin:
            behind = behind_samples(spec)
            heard = samples.rows(
                begin * spec.hop_length - behind, (end - 1) * spec.hop_length + spec.reach_samples
            )
            self._rows.append(feature_rows(heard[:, 0], spec))

    def can_continue(self, samples: RowBuffer) -> bool:
        """True if the samples of the next row are still kept."""
        return samples.first <= self._rows.end * self._spec.hop_length - behind_samples(self._spec)

    def window(self, begin: int, end: int) -> NDArray[np.float32]:
        """Rows `begin .. end - 1`; missing ones hold the value of digital silence."""
        if self._rows.first <= begin and end <= self._rows.end:
            return self._rows.rows(begin, end)
        window = np.full((end - begin, columns(self._spec)), silence_value(self._spec), np.float32)
        kept_begin, kept_end = max(begin, self._rows.first), min(end, self._rows.end)
        if kept_begin < kept_end:
            window[kept_begin - begin : kept_end - begin] = self._rows.rows(kept_begin, kept_end)
        return window

    def discard_before(self, sample: int) -> None:
        """Drop rows that begin before `sample`."""
        self._rows.discard_before(sample // self._spec.hop_length)


def columns(spec: FeatureSpec) -> int:
    """Numbers per row."""
    return spec.n_mels if isinstance(spec, MelSpec) else spec.hop_length


def behind_samples(spec: FeatureSpec) -> int:
    """Samples before sample `i * hop_length` that row i depends on."""
    if not isinstance(spec, MelSpec):
        return 0
    # pre-emphasis looks one sample back
    return spec.reach_samples + (1 if spec.scale is MelScale.DECIBEL else 0)


def silence_value(spec: FeatureSpec) -> float:
    """Value of every number of a row of digital silence."""
    if not isinstance(spec, MelSpec):
        return 0.0
    return -LIMIT if spec.scale is MelScale.DECIBEL else float(np.log(spec.log_floor))


def feature_rows(samples: Samples, spec: FeatureSpec) -> NDArray[np.float32]:
    """Rows `[n, columns]` of consecutive samples.

    They begin `behind_samples` before the first row's place.
    """
    if not isinstance(spec, MelSpec):
        return samples.reshape(-1, spec.hop_length)
    if spec.scale is MelScale.NATURAL_LOG:
        return log_mel_frames(signal_windows(samples, spec), spec)
    return decibel_mel_frames(signal_windows(emphasise(samples)[1:], spec), spec)

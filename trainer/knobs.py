"""The knobs that turn while a run trains: those of FASA, and a factor on the learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fasa_core.fasa import FASA
from trainer.config import RunConfig, check_live, live_knobs

_LEARNING_RATE = "learning_rate_factor"


class Knobs:
    """Where the live knobs of one run stand.

    Args:
        config: the run's; it says where they stand at the start.
        fasas: of every stage, each holds its own knobs, and all stand alike; none for a baseline.

    Attributes:
        learning_rate_factor: on every learning rate, over warm-up and schedule.
    """

    def __init__(self, config: RunConfig, fasas: Sequence[FASA]) -> None:
        self._config = config
        self._fasas = fasas
        self.learning_rate_factor = config.learning_rate_factor

    def values(self) -> dict[str, float]:
        """Every knob and where it stands."""
        values = {_LEARNING_RATE: self.learning_rate_factor}
        for fasa in self._fasas[:1]:
            for name in live_knobs():
                if name != _LEARNING_RATE:
                    values[name] = float(getattr(fasa, name))
        return values

    def set(self, values: Mapping[str, Any]) -> dict[str, float]:
        """Turn some of them; returns what was set.

        Raises:
            ConfigError: for an unknown knob, a value out of bounds, or a knob of FASA in a
                baseline; then nothing has changed.
        """
        checked = check_live(values, self._config)
        of_fasa = {name: value for name, value in checked.items() if name != _LEARNING_RATE}
        for fasa in self._fasas:
            fasa.set_knobs(**of_fasa)
        self.learning_rate_factor = checked.get(_LEARNING_RATE, self.learning_rate_factor)
        return checked

    def set_as_configured(self) -> None:
        """Put every knob where the configuration has it (a fork's edits, over its checkpoint)."""
        self.set({name: getattr(self._config, name) for name in self.values()})

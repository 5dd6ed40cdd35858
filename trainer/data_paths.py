"""The knobs that name files, and which files a browser may name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.config import ConfigError, RunConfig

BACKBONE_WORDS = ("imagenet", "none")  # values of `backbone_weights` that are no path


def check_paths(config: RunConfig, roots: Sequence[Path]) -> None:
    """Refuse a configuration that names a file outside `roots`; for what comes from a browser.

    Links are followed before the comparison.

    Raises:
        ConfigError: one sentence that names the knob and the folders allowed.
    """
    allowed = [root.resolve() for root in roots]
    for name in path_knobs():
        value = getattr(config, name)
        if value is not None and value not in BACKBONE_WORDS and not _is_inside(value, allowed):
            where = " or ".join(map(str, allowed)) or "a data folder (none is configured)"
            raise ConfigError(
                f"{name} is '{str(value)[:80]}', which is not inside {where}: put the data there, "
                "or start the run with `fasa queue`"
            )


def _is_inside(path: Path | str, folders: Sequence[Path]) -> bool:
    try:
        resolved = Path(path).resolve()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, a circle of links
        return False
    return any(resolved.is_relative_to(folder) for folder in folders)


def path_knobs() -> list[str]:
    """The knobs that name files or folders."""
    optional = Path | None
    fields = RunConfig.model_fields.items()
    return [name for name, field in fields if field.annotation == optional] + ["backbone_weights"]

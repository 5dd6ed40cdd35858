"""The FASA algorithm, independent of detection: see `fasa_core.fasa`."""

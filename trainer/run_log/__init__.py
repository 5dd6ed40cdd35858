"""The run log: one SQLite file that carries everything the dashboard shows (docs/run_log.md)."""

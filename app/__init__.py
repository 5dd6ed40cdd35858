"""The dashboard: reads the run log, writes nothing but commands and queued runs."""

"""Statistics that turn predictions, rows and histories into numbers with intervals. Pure functions; no network is trained here."""

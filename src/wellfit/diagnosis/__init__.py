"""Diagnosis with evidence: measurements of a training set-up, a verdict in plain words, and what would help."""

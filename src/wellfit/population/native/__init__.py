"""The native tier: compiled code that runs each member of a population to completion on one core."""

"""Measurements of single faults. Each is a function on arrays that answers with a number, its interval, and what it rests on."""

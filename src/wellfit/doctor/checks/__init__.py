"""The checks, in files by subject. Each file here is imported when checks are asked for, and declares its own."""

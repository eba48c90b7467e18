"""What the functions of a training do, found by running copies of them under observation."""

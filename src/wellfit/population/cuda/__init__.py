"""The tier for a graphics card: one recorded step of tensors for all members, played without a word of Python."""

"""Floor 2: how messages look and leave the house."""

"""Floor 1: pure values and rules. No I/O, no framework, no clock of its own."""

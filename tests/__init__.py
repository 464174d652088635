"""The tests. A package, so that `tests.nodes`, `tests.servers` and builders can be imported by name."""

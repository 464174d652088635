"""payflow: a payment pipeline for booking platforms. The map of the house is docs/architecture.md."""

__version__ = "0.1.0"

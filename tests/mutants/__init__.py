"""The mutation check: `make mutants`. Each mechanism that keeps money safe is switched off, and a test must notice."""

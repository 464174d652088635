"""Floor 5: what payflow does, one step = one transaction. No HTTP, no Celery, no SQL here."""

"""Floor 7: the HTTP front. Reads requests, calls services, shapes answers. No SQL, no Celery, no rules about money."""

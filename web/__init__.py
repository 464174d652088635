"""Floor 7: the HTTP front. Thin: reads requests, calls services, shapes answers. No SQL, no Celery, no rules about money."""

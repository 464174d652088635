"""Floor 7: the work Celery runs. Each task takes ids (or nothing) and calls one service; when it runs, repeats and in
what order is decided here, what it does is not."""

"""Celery's settings: queues, routes, late acknowledgement, limits, beat's schedule. Data only; reasons in
docs/decisions/0003-celery-settings.md.
"""

import os
from pathlib import Path

from kombu import Queue

from payflow.core.gateways import GATEWAYS

_broker_file = os.environ.get("PAYFLOW_BROKER_URL_FILE", "").strip()
broker_url = (
    Path(_broker_file).read_text(encoding="utf-8").strip()
    if _broker_file
    else os.environ.get("PAYFLOW_BROKER_URL", "redis://127.0.0.1:6379/0")
)
_is_amqp = broker_url.startswith(("amqp", "pyamqp"))

GATEWAY_QUEUES = tuple(gateway.queue for gateway in GATEWAYS)
QUEUES = (*GATEWAY_QUEUES, "webhooks", "bookings", "notifications", "deliveries", "sweeps")

_arguments = {"x-queue-type": "quorum"} if _is_amqp else None
task_queues = tuple(Queue(name, routing_key=name, queue_arguments=_arguments) for name in QUEUES)
task_default_queue = "sweeps"
task_create_missing_queues = False
task_routes = {
    "webhooks.*": {"queue": "webhooks"},
    "bookings.*": {"queue": "bookings"},
    "orders.*": {"queue": "sweeps"},
    "notifications.*": {"queue": "notifications"},
    "deliveries.*": {"queue": "deliveries"},
    "reconciliation.*": {"queue": "sweeps"},
    "sweeps.*": {"queue": "sweeps"},
}
"""Tasks that call a gateway take its queue where they are sent: `gateway.NAME`."""

task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]
task_ignore_result = True
result_backend = None

task_acks_late = True
task_reject_on_worker_lost = True
worker_prefetch_multiplier = 1
worker_cancel_long_running_tasks_on_connection_loss = False
task_soft_time_limit = 60
task_time_limit = 90
worker_max_tasks_per_child = 1000
worker_soft_shutdown_timeout = 10
worker_send_task_events = True
task_send_sent_event = False
task_track_started = False

broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_connection_timeout = 3
broker_heartbeat = 15
task_publish_retry = False
broker_transport_options: dict[str, object]
if _is_amqp:
    broker_transport_options = {"confirm_publish": True, "read_timeout": 5, "write_timeout": 5}
    worker_detect_quorum_queues = True
else:
    broker_transport_options = {
        "visibility_timeout": 120,  # above the hard limit of 90 s; no countdown is ever used
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "global_keyprefix": "payflow:",
    }
    visibility_timeout = 120

timezone = "UTC"
enable_utc = True
worker_hijack_root_logger = False
worker_redirect_stdouts = False

beat_max_loop_interval = 2
_beat_line = {"retry": True, "retry_policy": {"max_retries": 3, "interval_start": 0, "interval_step": 0.5}}
"""Beat keeps one connection for ever: only a retried publication opens it anew after the broker was away."""
beat_schedule = {
    name: {"task": task, "schedule": seconds, "options": {"expires": expires, **_beat_line}}
    for name, task, seconds, expires in (
        ("ring for what is due", "sweeps.due", 2.0, 10),
        ("check the books", "sweeps.audit", 3600.0, 600),
        ("tell operators", "sweeps.digest", 60.0, 50),
        ("open the night's reconciliation", "reconciliation.run", 3600.0, 600),
        ("throw old keys away", "sweeps.housekeeping", 3600.0, 600),
    )
}

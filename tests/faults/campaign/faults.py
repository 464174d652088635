"""The table of faults that last a while under load. Fail-points are rows of their own (points.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.faults.campaign import injections as do
from tests.faults.campaign.injections import Inject, at_the_receiver, often, planted

EVERYWHERE = ("sqlite", "redis", "rabbitmq")
REDIS_LIKE = ("sqlite", "redis")
POSTGRES = ("redis", "rabbitmq")


@dataclass(frozen=True)
class Fault:
    """One row of the campaign's table."""

    name: str
    does: str
    inject: Inject
    stacks: tuple[str, ...] = EVERYWHERE
    is_slow: bool = False
    """Takes more than a minute: only with --slow or --only."""


_TABLE = (
    Fault("none", "Nothing: the load alone, to compare with.", do.sit_out),
    Fault("workers.killed", "kill -9 of every worker group, three times.", do.kill_workers),
    Fault("workers.killed_in_turn", "kill -9 of a random process, four times.", do.kill_in_turn),
    Fault("workers.none", "No worker for eight seconds.", do.no_workers),
    Fault("workers.ended_politely", "SIGTERM to workers and web in mid-work.", do.end_politely),
    Fault("worker.frozen", "SIGSTOP beyond a question's lease (20 s), another worker, SIGCONT.", do.freeze(20)),
    Fault("worker.frozen_long", "SIGSTOP beyond every lease, another worker, SIGCONT.", do.freeze(100), is_slow=True),
    Fault("web.killed", "kill -9 of the web, three times.", do.kill_web),
    Fault("beat.killed", "No beat for six seconds, and core killed meanwhile.", do.kill_beat),
    Fault("beat.frozen", "SIGSTOP of beat for six seconds, and core killed meanwhile.", do.freeze_beat),
    Fault("beat.two", "Two beats at once.", do.two_beats),
    Fault("broker.killed", "kill -9 of the broker, back with its data.", do.restart_broker(empty=False)),
    Fault("broker.killed_empty", "kill -9 of the broker, back empty.", do.restart_broker(empty=True)),
    Fault("broker.flushed", "FLUSHALL five times.", do.flush, REDIS_LIKE),
    Fault("broker.refusing", "Connections to the broker refused for six seconds.", do.refuse),
    Fault("broker.slow", "Everything to and from the broker 0.4 s late.", do.slow_line),
    Fault("broker.frozen", "SIGSTOP of the broker for seven seconds.", do.freeze_broker),
    Fault("broker.silent", "The line to the broker open and dead for seven seconds.", do.freeze_line),
    Fault("broker.cut", "All connections to the broker cut, six times.", do.cut_line),
    Fault("broker.answers_lost", "One answer of the broker in twenty lost with its connection.", do.lose_answers),
    Fault("broker.repeated", "What waits, ten times over, the last first.", do.repeat_and_shuffle, REDIS_LIKE),
    Fault("broker.alarm", "RabbitMQ's memory alarm for six seconds.", do.raise_memory_alarm, ("rabbitmq",)),
    Fault("broker.full", "The broker has no memory left for six seconds.", do.full, REDIS_LIKE),
    Fault("broker.poisoned", "Unknown task, broken JSON and garbage in a queue.", do.poison, REDIS_LIKE),
    Fault("database.restarted", "Immediate shutdown of PostgreSQL, twice.", do.restart_database, POSTGRES),
    Fault("database.cut", "Random backends terminated for six seconds.", do.terminate_connections, POSTGRES),
    Fault("database.full", "All connections taken by somebody else.", do.take_all_connections, POSTGRES),
    Fault("database.deadlocks", "Rows locked in the other order for eight seconds.", do.deadlocks, POSTGRES),
    Fault(
        "database.locked", "SQLite write-locked by another process, twice three seconds.", do.lock_sqlite, ("sqlite",)
    ),
    Fault("gateway.frozen", "The gateways do not answer for seven seconds.", do.gateway_down),
    Fault(
        "gateway.timeout_after_effect",
        "Pages opened and refunds made, the answers lost.",
        planted(
            often("timeout_after_effect", 0.6, at="initialize", seconds=1),
            often("timeout_after_effect", 0.6, at="refund", seconds=1),
        ),
    ),
    Fault("gateway.errors", "Four in ten calls end in 500.", planted(often("error_500"))),
    Fault(
        "gateway.errors_after",
        "Four in ten take effect and end in 500.",
        planted(often("error_500", after_effect=True)),
    ),
    Fault("gateway.too_many", "Four in ten calls: too many requests.", planted(often("rate_limit"))),
    Fault("gateway.html", "Four in ten calls answered with HTML.", planted(often("html_error"))),
    Fault("gateway.truncated", "Three in ten answers cut in the middle.", planted(often("truncated_json", 0.3))),
    Fault("gateway.huge", "Two in ten answers are of 2 MB.", planted(often("huge_body", 0.2))),
    Fault("gateway.slow", "Half the calls take two seconds.", planted(often("slow", 0.5, seconds=2))),
    Fault("gateway.refusing", "Half the connections reset.", planted(often("refuse_connection", 0.5))),
    Fault("gateway.not_found", "Half the questions: not found.", planted(often("not_found_on_verify", 0.5))),
    Fault("gateway.odd_words", "Half the questions: a word nobody knows.", planted(often("unknown_status", 0.5))),
    Fault("gateway.by_hand", "Refunds made in the gateways' dashboards.", do.give_back_by_hand),
    Fault("webhooks.ten_times", "Every webhook ten times at once.", planted(often("webhook_duplicate", 1, n=10))),
    Fault("webhooks.permuted", "Webhooks after the next one.", planted(often("webhook_out_of_order", 0.5, seconds=4))),
    Fault("webhooks.missing", "No webhook comes.", planted(often("webhook_missing", 1))),
    Fault("webhooks.late", "Every webhook five seconds late.", planted(often("webhook_delay", 1, seconds=5))),
    Fault("webhooks.forged", "A forged webhook before each true one, and others besides.", do.forge),
    Fault("told.at_once", "Webhook, browser and check button in the same moment.", do.told_at_once),
    Fault("mail.refused", "Half the letters refused for now.", planted(often("mail_rejected", 0.5))),
    Fault("receiver.slow", "The workspace's system takes three seconds to answer.", at_the_receiver(delay_seconds=3.0)),
    Fault("receiver.failing", "The workspace's system answers 503.", at_the_receiver(status=503)),
    Fault("receiver.mute", "The workspace's system takes webhooks and never answers.", at_the_receiver(is_mute=True)),
    Fault("clock.ahead", "The workers' clocks a minute ahead for eight seconds.", do.skew(60)),
    Fault("clock.behind", "The workers' clocks a minute behind for eight seconds.", do.skew(-60)),
    Fault("clock.gateway_ahead", "The gateways' clock leaps a minute.", do.gateway_ahead),
)

FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _TABLE}

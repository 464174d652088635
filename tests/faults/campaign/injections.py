"""What breaks things: functions that inject a fault, wait, and take it back. The table of them is faults.py.

A sleep here is how long a fault lasts, or the pause between two strokes; nothing is concluded from it."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from signal import SIGCONT, SIGQUIT, SIGSTOP, SIGTERM
from typing import Any

import redis
import requests
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from tests.faults.campaign.customers import GATEWAYS, PRICE_MINOR, Crowd, Track
from tests.faults.campaign.stage import Stage
from tests.live import Live


@dataclass(frozen=True)
class Scene:
    """What a fault may lay hands on."""

    stage: Stage
    crowd: Crowd
    rng: random.Random

    @property
    def live(self) -> Live:
        return self.stage.live


Inject = Callable[[Scene], None]


# -- workers, web, beat ----------------------------------------------------------------------------------------------


def kill_workers(scene: Scene) -> None:
    for _ in range(3):
        for part in ("money", "core"):
            scene.stage.kill(part)
        time.sleep(scene.rng.uniform(1.5, 4))


def kill_in_turn(scene: Scene) -> None:
    for _ in range(4):
        scene.stage.kill(scene.rng.choice(("money", "core", "web", "beat")))
        time.sleep(scene.rng.uniform(1.0, 2.5))


def no_workers(scene: Scene) -> None:
    parts = ("money", "core")
    for part in parts:
        scene.stage.launcher.hold(part)
    time.sleep(8)
    for part in parts:
        scene.stage.launcher.resume(part)


def freeze(seconds: float) -> Inject:
    """A worker stands still past its leases while another takes its work, then it wakes and goes on."""

    def inject(scene: Scene) -> None:
        with scene.stage.another_money_worker():
            time.sleep(4)  # it has to come up first, or nobody could take over
            scene.stage.launcher.kill("money", SIGSTOP)
            time.sleep(seconds)
            scene.stage.launcher.kill("money", SIGCONT)
            time.sleep(2)

    return inject


def end_politely(scene: Scene) -> None:
    for part in ("money", "core", "web"):
        scene.stage.kill(part, SIGTERM)
    time.sleep(2)
    scene.stage.revive()


def kill_web(scene: Scene) -> None:
    for _ in range(3):
        scene.stage.kill("web")
        time.sleep(1.5)


def kill_beat(scene: Scene) -> None:
    scene.stage.launcher.hold("beat")
    scene.stage.kill("core")
    time.sleep(6)
    scene.stage.launcher.resume("beat")


def freeze_beat(scene: Scene) -> None:
    scene.stage.launcher.kill("beat", SIGSTOP)
    scene.stage.kill("core")
    time.sleep(6)
    scene.stage.launcher.kill("beat", SIGCONT)


def two_beats(scene: Scene) -> None:
    schedule = str(scene.stage.folder / "second-schedule")
    with scene.stage.another("beat2", ("beat", "-s", schedule, "--pidfile=")):
        time.sleep(8)


# -- broker ----------------------------------------------------------------------------------------------------------


def restart_broker(*, empty: bool) -> Inject:
    def inject(scene: Scene) -> None:
        scene.stage.kill_server(scene.stage.broker_part, empty=empty)
        time.sleep(1)
        scene.stage.start_server(scene.stage.broker_part)

    return inject


def flush(scene: Scene) -> None:
    with redis.Redis.from_url(scene.live.settings.broker_url) as client:
        for _ in range(5):
            with contextlib.suppress(redis.RedisError):
                client.flushall()
            time.sleep(scene.rng.uniform(0.5, 1.5))


def refuse(scene: Scene) -> None:
    scene.stage.proxy.refuse()
    time.sleep(6)
    scene.stage.proxy.listen()


def slow_line(scene: Scene) -> None:
    scene.stage.proxy.weather.delay_seconds = 0.4
    time.sleep(8)
    scene.stage.proxy.weather.delay_seconds = 0.0


def freeze_line(scene: Scene) -> None:
    scene.stage.proxy.freeze()
    time.sleep(7)
    scene.stage.proxy.thaw()


def freeze_broker(scene: Scene) -> None:
    scene.stage.signal_server(scene.stage.broker_part, SIGSTOP)
    time.sleep(7)
    scene.stage.signal_server(scene.stage.broker_part, SIGCONT)


def cut_line(scene: Scene) -> None:
    for _ in range(6):
        scene.stage.proxy.cut()
        time.sleep(scene.rng.uniform(0.3, 1.5))


def lose_answers(scene: Scene) -> None:
    scene.stage.proxy.weather.lose_answers = 0.05
    time.sleep(8)
    scene.stage.proxy.weather.lose_answers = 0.0


def repeat_and_shuffle(scene: Scene) -> None:
    """What piles up while nobody works is put back ten times over, the last first."""
    parts = ("money", "core")
    for part in parts:
        scene.stage.launcher.hold(part)
    time.sleep(4)
    with redis.Redis.from_url(scene.live.settings.broker_url) as client:
        for queue in [key for key in client.scan_iter("payflow:*") if client.type(key) == b"list"]:
            waiting = client.lrange(queue, 0, -1)
            client.lpush(queue, *waiting * 9)
    for part in parts:
        scene.stage.launcher.resume(part)
    time.sleep(2)


def raise_memory_alarm(scene: Scene) -> None:
    """RabbitMQ lets nobody publish while its memory alarm is on."""
    scene.stage.control_server("rabbitmq", "set_vm_memory_high_watermark", "0")
    time.sleep(6)
    scene.stage.control_server("rabbitmq", "set_vm_memory_high_watermark", "0.4")


def full(scene: Scene) -> None:
    with redis.Redis.from_url(scene.live.settings.broker_url) as client:
        client.config_set("maxmemory", "1mb")
        time.sleep(6)
        client.config_set("maxmemory", "0")


def poison(scene: Scene) -> None:
    """A task nobody knows, broken JSON, and a list element that is no message at all."""
    queue = "payflow:bookings"
    with redis.Redis.from_url(scene.live.settings.broker_url) as client:
        for poison in (b'{"body": "bm90aGluZw==", "headers": {"task": "no.such"}}', b"{broken", b"\x80\x04K\x01."):
            client.lpush(queue, poison)
            time.sleep(1)
    time.sleep(1)
    scene.stage.revive()


# -- database --------------------------------------------------------------------------------------------------------


def restart_database(scene: Scene) -> None:
    for _ in range(2):
        scene.stage.kill_server("postgres", SIGQUIT)
        time.sleep(0.5)
        scene.stage.start_server("postgres")
        time.sleep(2)


def terminate_connections(scene: Scene) -> None:
    engine = create_engine(scene.live.container.engine.url, isolation_level="AUTOCOMMIT")
    victims = text("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    for _ in range(16):
        with contextlib.suppress(SQLAlchemyError), engine.connect() as connection:
            pids = list(connection.scalars(victims))
            for pid in scene.rng.sample(pids, min(2, len(pids))):
                connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        time.sleep(0.4)
    engine.dispose()


def take_all_connections(scene: Scene) -> None:
    """Somebody ends all of payflow's connections and takes what is left himself, for six seconds."""
    me = {"application_name": "hog"}
    engine = create_engine(
        scene.live.container.engine.url, isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args=me
    )
    others = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name <> 'hog'"
    )
    over = time.monotonic() + 6
    with contextlib.ExitStack() as held:
        while time.monotonic() < over:
            try:
                held.enter_context(engine.connect()).execute(others)
            except SQLAlchemyError:  # all are taken
                time.sleep(0.1)


def deadlocks(scene: Scene) -> None:
    """Somebody takes the same rows in the other order and keeps them for a moment, again and again."""
    engine, over = create_engine(scene.live.container.engine.url), threading.Event()
    reverse = ("payment_attempts", "payments", "orders")

    def press() -> None:
        while not over.is_set():
            with contextlib.suppress(SQLAlchemyError), engine.begin() as connection:
                connection.execute(text("SET LOCAL lock_timeout = '1s'"))
                for table in reverse:
                    connection.execute(text(f"SELECT id FROM {table} ORDER BY id DESC LIMIT 6 FOR UPDATE"))
                    time.sleep(0.15)
            time.sleep(0.1)

    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            pool.submit(press)
        time.sleep(8)
        over.set()
    engine.dispose()


def lock_sqlite(scene: Scene) -> None:
    path = scene.live.container.engine.url.database or ""
    for _ in range(2):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(3)
            connection.execute("ROLLBACK")
        time.sleep(1)


# -- gateways, mail --------------------------------------------------------------------------------------------------


def sit_out(scene: Scene) -> None:
    """Nothing; for comparison."""
    time.sleep(6)


def planted(*plans: dict[str, Any]) -> Inject:
    """Faults that the gateway or the mail server carries out by itself, for six seconds."""

    def inject(scene: Scene) -> None:
        ids = [scene.crowd.control("POST", "/sandbox/faults", plan)["id"] for plan in plans]
        time.sleep(6)
        for plan_id in ids:
            scene.crowd.control("DELETE", f"/sandbox/faults/{plan_id}")

    return inject


def give_back_by_hand(scene: Scene) -> None:
    """Staff give money back in the dashboards of the gateways that tell of it."""

    def act(track: Track) -> None:
        scene.crowd.buy(track)
        plan = {"fault": "dashboard_refund", "reference": track.paid_reference, "params": {"amount": PRICE_MINOR}}
        scene.crowd.control("POST", "/sandbox/faults", plan)
        track.kept_minor = track.paid_minor - PRICE_MINOR

    for _ in range(4):
        for gateway in ("paystack", "stripe"):
            scene.crowd.begin(act, scene.crowd.arrive(gateway))
        time.sleep(1)


def gateway_down(scene: Scene) -> None:
    scene.stage.launcher.kill("sandbox", SIGSTOP)
    time.sleep(7)
    scene.stage.launcher.kill("sandbox", SIGCONT)


def often(fault: str, chance: float = 0.4, *, at: str | None = None, **params: Any) -> dict[str, Any]:
    """A plan that strikes with a chance, at one operation or at all."""
    return {"fault": fault, "times": None, "chance": chance, "operation": at, "params": params}


def told_at_once(scene: Scene) -> None:
    """Webhook, the customer's browser and the check button, all in the same moment, eight times over."""
    over = time.monotonic() + 8
    done: set[str] = set()
    with ThreadPoolExecutor(24) as pool:
        while time.monotonic() < over:
            newest = [one for one in scene.crowd.tracks if one.paid_reference][-30:]
            for track in [one for one in newest if one.paid_reference not in done]:
                done.add(str(track.paid_reference))
                for _ in range(8):
                    pool.submit(_return_and_ask, scene, str(track.paid_reference), track.user_id, track.payment_id)
                again = {"reference": track.paid_reference, "event": "charge_paid", "signature": "valid"}
                pool.submit(scene.live.control, "POST", "/sandbox/webhooks", again)
            time.sleep(0.05)


def _return_and_ask(scene: Scene, reference: str, user_id: str, payment_id: str | None) -> None:
    with contextlib.suppress(requests.RequestException):
        address = f"{scene.live.api}/payment/payments/"
        requests.get(f"{address}callback/?reference={reference}", timeout=20, allow_redirects=False)
        headers = {"Authorization": f"Bearer {scene.crowd.token(user_id)}"}
        requests.get(f"{address}{payment_id}/check-status/", headers=headers, timeout=20)


def forge(scene: Scene) -> None:
    """Somebody tells of success nobody had, with no key, a wrong one, and in a body that is no JSON."""
    plan = scene.crowd.control("POST", "/sandbox/faults", often("webhook_forged", 1))
    for _ in range(20):
        for gateway in GATEWAYS:
            for track in [one for one in scene.crowd.tracks if one.paid_reference][-3:]:
                raw = f'{{"event":"charge.success","data":{{"status":"success","reference":"{track.paid_reference}"}}}}'
                for signature in ("forged", "missing"):
                    body = {"gateway": gateway, "raw": raw, "signature": signature, "reference": "forged"}
                    scene.crowd.control("POST", "/sandbox/webhooks", body)
        time.sleep(0.3)
    scene.crowd.control("DELETE", f"/sandbox/faults/{plan['id']}")


def at_the_receiver(**manners: Any) -> Inject:
    """The system that hears of the workspace's events behaves so for eight seconds."""

    def inject(scene: Scene) -> None:
        receiver = scene.stage.receiver
        for name, value in manners.items():
            setattr(receiver, name, value)
        time.sleep(8)
        scene.stage.calm_receiver()

    return inject


# -- clocks ----------------------------------------------------------------------------------------------------------


def skew(seconds: float) -> Inject:
    def inject(scene: Scene) -> None:
        scene.stage.set_skew(seconds)
        time.sleep(8)
        scene.stage.set_skew(0)

    return inject


def gateway_ahead(scene: Scene) -> None:
    """The gateway's clock leaps: its signatures are from the future, refunds and due things there come early."""
    scene.crowd.control("POST", "/sandbox/clock", {"advance_seconds": 60})
    time.sleep(4)

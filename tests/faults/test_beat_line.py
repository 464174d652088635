"""Beat's line to the broker: cut in the middle, it is there again at the next beat."""

from __future__ import annotations

import runpy
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.beat import Scheduler
from sqlalchemy import make_url

from tests.faults.campaign.proxy import Proxy
from tests.nodes import empty

pytestmark = pytest.mark.faults


@pytest.fixture
def line(broker_url: str) -> Iterator[Proxy]:
    """A proxy before the broker; what was sent through it is thrown away in the end."""
    proxy = Proxy(int(make_url(broker_url).port or 0))
    yield proxy
    proxy.stop()
    empty(broker_url, ["sweeps"])


@pytest.fixture
def scheduler(broker_url: str, line: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    """Beat's own, with the settings that celeryconfig makes for this broker, on the line that can be cut."""
    through = make_url(broker_url).set(port=line.port).render_as_string(hide_password=False)
    monkeypatch.delenv("PAYFLOW_BROKER_URL_FILE", raising=False)
    monkeypatch.setenv("PAYFLOW_BROKER_URL", through)
    app = Celery("beat", set_as_current=False)
    app.config_from_object(SimpleNamespace(**runpy.run_path("celeryconfig.py")))
    scheduler = Scheduler(app)
    yield scheduler
    scheduler.connection.release()


@pytest.mark.parametrize("times", [1, 3])
def test_a_beat_after_the_line_was_cut_is_sent(scheduler: Scheduler, line: Proxy, times: int) -> None:
    """However often: the connection that beat keeps is opened anew, by no more than sending the next message."""
    (entry,) = [one for one in scheduler.schedule.values() if one.task == "sweeps.due"]
    for _ in range(times):
        assert scheduler.apply_async(entry, producer=scheduler.producer, advance=False).id
        line.cut()
        time.sleep(0.2)  # the cut has to arrive at this end, or nothing is tried
    assert scheduler.apply_async(entry, producer=scheduler.producer, advance=False).id

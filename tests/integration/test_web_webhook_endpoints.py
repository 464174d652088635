"""`/payment/webhook-endpoints/` over HTTP: who may, what is shown, what is refused and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from payflow.models.webhook_endpoint import WebhookEndpoint
from tests.builders import Client, a_client, a_problem, a_service_key, pointers
from tests.house import ADMIN, OTHER_WORKSPACE, WORKSPACE, House
from tests.receivers import Receiver, a_receiver

AT_HOME = pytest.mark.parametrize("house", [{"PAYFLOW_WEBHOOK_ALLOW_PRIVATE": "1"}], indirect=True)
PATH = "/payment/webhook-endpoints/"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as found:
        yield found


def made(client: Client, url: str, **more: Any) -> dict[str, Any]:
    answer = client.post(PATH, {"workspace_id": WORKSPACE, "url": url, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.get_json())


@AT_HOME
def test_an_endpoint_is_made_shown_changed_and_deleted(admin: Client, house: House) -> None:
    """Its secret stands in the first answer and in no other."""
    one = made(admin, "http://127.0.0.1:9/a", events=["payment.completed"], description="books")
    assert one["secret"].startswith("whsec_")
    assert (one["events"], one["enabled"], one["description"]) == (["payment.completed"], True, "books")
    path = f"{PATH}{one['id']}/"
    assert "secret" not in admin.get(path).get_json()
    assert one["secret"] not in admin.get(PATH).text
    changed = admin.patch(path, {"events": [], "enabled": False}).get_json()
    assert (changed["events"], changed["enabled"], changed["disabled_reason"]) == ([], False, "by_hand")
    assert changed["url"] == "http://127.0.0.1:9/a"
    assert admin.open("DELETE", path).status_code == 204
    a_problem(admin.get(path), 404)
    a_problem(admin.open("DELETE", path), 404)
    assert admin.get(PATH).get_json()["results"] == []
    row: WebhookEndpoint = house.rows(WebhookEndpoint)[0]
    assert (row.secret, row.enabled) == ("", False)


@AT_HOME
def test_the_same_key_makes_one_endpoint_and_one_rotation(admin: Client) -> None:
    """A lost answer costs nothing: the repetition shows the same secret."""
    body, key = {"workspace_id": WORKSPACE, "url": "http://127.0.0.1:9/"}, {"Idempotency-Key": "k-1"}
    first, again = (admin.post(PATH, body, headers=key) for _ in range(2))
    assert first.get_json() == again.get_json()
    assert again.headers["Idempotency-Replayed"] == "true"
    path = f"{PATH}{first.get_json()['id']}/rotate-secret/"
    rotated, twice = (admin.post(path, {"overlap_seconds": 60}, headers=key).get_json() for _ in range(2))
    assert rotated["secret"] == twice["secret"] != first.get_json()["secret"]
    assert len(admin.get(PATH).get_json()["results"]) == 1


@AT_HOME
def test_a_key_used_for_one_endpoint_is_refused_for_another(admin: Client, house: House) -> None:
    """It does not show the other's secret, and has no effect."""
    one, other = (made(admin, f"http://127.0.0.1:9/{name}")["id"] for name in "ab")
    body, key = {"overlap_seconds": 60}, {"Idempotency-Key": "k-1"}
    assert admin.post(f"{PATH}{one}/rotate-secret/", body, headers=key).get_json()["id"] == one
    before = {row.id: row.secret for row in house.rows(WebhookEndpoint)}
    a_problem(admin.post(f"{PATH}{other}/rotate-secret/", body, headers=key), 422, "idempotency_key_reused")
    again = admin.post(f"{PATH}{one.upper()}/rotate-secret/", body, headers=key)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert {row.id: row.secret for row in house.rows(WebhookEndpoint)} == before


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://hooks.example.com/", "url_not_https"),
        ("https://127.0.0.1/", "url_not_public"),
        ("https://[::ffff:127.0.0.1]/", "url_not_public"),
        ("https://localhost/", "url_not_public"),
        ("https://169.254.169.254/latest/meta-data/", "url_not_public"),
        ("https://2130706433/", "invalid_url"),
        ("https://a:b@hooks.example.com/", "url_with_login"),
        ("https://hooks.example.com:6379/", "url_port"),
        ("https://hooks.invalid/", "url_not_found"),
        ("gopher://hooks.example.com/", "url_not_https"),
    ],
)
def test_an_address_inside_is_refused_at_its_field(admin: Client, house: House, url: str, code: str) -> None:
    """When it is made and when it is changed, with a word for the reason."""
    problem = a_problem(admin.post(PATH, {"workspace_id": WORKSPACE, "url": url}), 422, code)
    assert pointers(problem) == {"/url"}
    assert house.rows(WebhookEndpoint) == []


@AT_HOME
def test_a_changed_address_is_checked_like_a_new_one(admin: Client) -> None:
    """Nothing of the change is kept."""
    path = f"{PATH}{made(admin, 'http://127.0.0.1:9/')['id']}/"
    a_problem(admin.patch(path, {"url": "file:///etc/passwd", "enabled": False}), 422, "url_not_https")
    assert admin.get(path).get_json()["enabled"]


@AT_HOME
def test_an_unknown_event_is_refused_by_name(admin: Client) -> None:
    """At its place in the list; our inside names are none of a client's."""
    for name in ("payment.paid", "PAYMENT_COMPLETED", "ping"):
        body = {"workspace_id": WORKSPACE, "url": "http://127.0.0.1:9/", "events": ["order.created", name]}
        assert pointers(a_problem(admin.post(PATH, body), 422, "unknown_event")) == {"/events/1"}


@AT_HOME
def test_endpoints_are_staffs_and_their_workspaces(app: Flask, house: House, admin: Client, ada: Client) -> None:
    """A member is told it is not theirs to do; a stranger's endpoint does not exist, in any list or by id."""
    endpoint_id = made(admin, "http://127.0.0.1:9/")["id"]
    house.booking(workspace_id=OTHER_WORKSPACE)
    here, elsewhere = (
        Client(app.test_client(), a_service_key(house, workspace_id=one)) for one in (WORKSPACE, OTHER_WORKSPACE)
    )
    a_problem(ada.post(PATH, {"workspace_id": WORKSPACE, "url": "http://127.0.0.1:9/"}), 403)
    a_problem(ada.get(PATH), 403)
    a_problem(elsewhere.post(PATH, {"workspace_id": WORKSPACE, "url": "http://127.0.0.1:9/"}), 404)
    for method, path in (
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "rotate-secret/"), ("POST", "ping/"),
        ("POST", "resend/"), ("GET", "deliveries/"),
    ):  # fmt: skip
        a_problem(elsewhere.open(method, f"{PATH}{endpoint_id}/{path}", json={} if method != "GET" else None), 404)
    assert elsewhere.get(PATH).get_json()["results"] == []
    assert [one["id"] for one in here.get(PATH).get_json()["results"]] == [endpoint_id]
    assert made(here, "http://127.0.0.1:9/")["workspace_id"] == WORKSPACE
    assert a_client(app, ADMIN).get(f"{PATH}?workspace={OTHER_WORKSPACE}").get_json()["results"] == []


@AT_HOME
def test_the_log_tells_what_became_of_each_webhook(admin: Client, house: House, receiver: Receiver) -> None:
    """Pages, newest first, by status; one delivery with every try; a resend of one and of all that failed."""
    endpoint_id = made(admin, receiver.url)["id"]
    receiver.status, receiver.answer = 500, b"no"
    house.order()
    house.drain()
    receiver.status = 200
    pinged = admin.post(f"{PATH}{endpoint_id}/ping/")
    assert (pinged.status_code, pinged.get_json()["status"]) == (202, "pending")
    house.drain()
    log = f"{PATH}{endpoint_id}/deliveries/"
    first = admin.get(f"{log}?page_size=1").get_json()
    assert [one["type"] for one in first["results"]] == ["ping"]
    second = admin.get(first["next"]).get_json()
    failed = second["results"][0]
    assert (failed["type"], failed["status"], failed["tries"], failed["http_status"], failed["sequence"]) == (
        "order.created", "pending", 1, 500, 1
    )  # fmt: skip
    assert failed["next_try_at"] is not None
    assert [one["type"] for one in admin.get(f"{log}?status=delivered").get_json()["results"]] == ["ping"]
    assert admin.get(f"{log}?status=failed").get_json()["results"] == []

    one = f"{PATH}deliveries/{failed['id']}/"
    assert [(row["http_status"], row["excerpt"]) for row in admin.get(one).get_json()["attempts"]] == [(500, "no")]
    again = admin.post(f"{one}resend/")
    assert (again.status_code, again.get_json()["status"]) == (202, "pending")
    house.drain()
    assert [row["http_status"] for row in admin.get(one).get_json()["attempts"]] == [500, 200]
    assert admin.get(one).get_json()["status"] == "delivered"
    ids = [row.headers["webhook-id"] for row in receiver.arrived]
    assert ids[0] == ids[-1] == failed["webhook_id"]
    everything = admin.post(f"{PATH}{endpoint_id}/resend/", {"status": "all", "since": "2026-01-01T00:00:00Z"})
    assert (everything.status_code, everything.get_json()) == (202, {"resent": 1})
    assert admin.post(f"{PATH}{endpoint_id}/resend/").get_json() == {"resent": 0}


@AT_HOME
def test_a_disabled_endpoint_is_neither_pinged_nor_resent_to(admin: Client) -> None:
    """409 with a word for it."""
    endpoint_id = made(admin, "http://127.0.0.1:9/", enabled=False)["id"]
    for verb in ("ping", "resend"):
        a_problem(admin.post(f"{PATH}{endpoint_id}/{verb}/"), 409, "endpoint_disabled")


@AT_HOME
def test_an_endpoint_that_was_given_up_is_seen_by_its_workspace_and_by_operators(
    admin: Client, house: House, receiver: Receiver
) -> None:
    """A field with the reason, and a count in the metrics; a line of level error besides."""
    endpoint_id = made(admin, receiver.url)["id"]
    receiver.status = 410
    house.order()
    house.drain()
    shown = admin.get(f"{PATH}{endpoint_id}/").get_json()
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "gone")
    assert 'payflow_webhook_endpoints_disabled{reason="gone"} 1.0' in admin.http.get("/metrics").text
    assert admin.http.get("/readyz").get_json()["parked"]["deliveries"] == 1

"""Messages: in whose language, to whom, from whom; and no letter that is true no longer."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from payflow import bus
from payflow.core.events import EventType
from payflow.models.notification import Channel, Notification
from payflow.models.outbox import OutboxEvent
from payflow.models.refund import RefundReason
from payflow.services.access import Caller
from tests.builders import Client, a_booking_body, a_client, a_paid_payment, a_problem, a_service_key, a_token, pointers
from tests.house import ADA, ADMIN, WORKSPACE, House
from tests.soundness import assert_sound

PREFERENCES = "/notifications/preferences/"
POLICY = f"/workspaces/{WORKSPACE}/policy/"


def titles(house: House, channel: Channel = Channel.IN_APP) -> list[str]:
    return [row.title for row in house.rows(Notification) if row.channel == channel]


def order_by_api(client: Client, house: House) -> None:
    """A booking and its order, made by the customer's own client."""
    booking = client.post("/bookings/", a_booking_body(house)).get_json()["id"]
    assert client.post("/payment/orders/", {"booking_ids": [booking]}).status_code == 201
    house.drain()


# -- language --------------------------------------------------------------------------------------------------------


def test_messages_speak_the_language_of_the_token(house: House, app: Flask) -> None:
    """The claim `locale` is remembered with the user and used for messages and letters."""
    order_by_api(Client(app.test_client(), a_token(ADA, locale="fr-FR")), house)
    assert titles(house) == ["Commande créée"]
    house.paid()
    (letter,) = house.letters()
    assert letter["subject"].startswith("Paiement réussi : ORD-")
    assert "Bonjour Ada Obi," in letter["text"]
    assert "NGN" in letter["text"]
    assert '<html lang="fr-FR">' in letter["html"]
    assert {row.locale for row in house.rows(Notification)} == {"fr-FR"}


@pytest.mark.parametrize("claim", ["de-DE", "", 7, None, {"fr": 1}, "fr\r\nX: y"])
def test_a_language_nothing_is_written_in_is_english(house: House, app: Flask, claim: Any) -> None:
    """An odd claim refuses nobody: it is passed over."""
    order_by_api(Client(app.test_client(), a_token(ADA, locale=claim)), house)
    assert titles(house) == ["Order created"]


def test_preference_goes_before_token_and_token_before_workspace(house: House, app: Flask, admin: Client) -> None:
    """The workspace's language is for those who said nothing; a choice of one's own goes before all."""
    assert admin.patch(POLICY, {"locale": "fr"}).get_json()["locale"] == "fr"
    silent, english = a_client(app, ADA), Client(app.test_client(), a_token(ADA, locale="en-GB"))
    order_by_api(silent, house)
    order_by_api(english, house)
    assert english.patch(PREFERENCES, {"locale": "fr_CA"}).get_json()["locale"] == "fr-CA"
    order_by_api(english, house)
    assert english.patch(PREFERENCES, {"locale": None}).get_json()["locale"] is None
    order_by_api(english, house)
    rows = [row for row in house.rows(Notification) if row.event == "ORDER_CREATED"]
    assert [row.locale for row in rows] == ["fr", "en-GB", "fr-CA", "en-GB"]


# -- preferences -----------------------------------------------------------------------------------------------------


def test_everything_is_on_until_somebody_says_otherwise(ada: Client) -> None:
    """Each channel lists what it tells of."""
    shown = ada.get(PREFERENCES).get_json()
    assert shown["locale"] is None
    assert shown["languages"][0] == "en"
    assert set(shown["channels"]["in_app"]) == {kind.value for kind in bus.CUSTOMER_EVENTS}
    assert set(shown["channels"]["email"]) == {kind.value for kind in bus.EMAIL_EVENTS}
    assert all(on for events in shown["channels"].values() for on in events.values())


def test_what_is_switched_off_is_not_written(house: House, ada: Client) -> None:
    """At fan-out, per channel and event; what was not named stays on; the books stay sound."""
    ada.patch(PREFERENCES, {"channels": {"in_app": {"ORDER_CREATED": False}, "email": {"PAYMENT_COMPLETED": False}}})
    shown = ada.patch(PREFERENCES, {"channels": {"in_app": {"PAYMENT_INITIATED": False}}}).get_json()["channels"]
    assert [event for event, on in shown["in_app"].items() if not on] == ["ORDER_CREATED", "PAYMENT_INITIATED"]
    house.paid()
    assert titles(house) == ["Payment successful"]
    assert house.letters() == []
    ada.patch(PREFERENCES, {"channels": {"in_app": {"ORDER_CREATED": True}, "email": {"PAYMENT_COMPLETED": True}}})
    house.paid()
    assert titles(house) == ["Payment successful", "Order created", "Payment successful"]
    assert len(house.letters()) == 1
    assert_sound(house)


@pytest.mark.parametrize("event", sorted(bus.KEPT_IN_APP))
def test_what_becomes_of_money_is_always_told_in_the_app(house: House, ada: Client, event: EventType) -> None:
    """Switching it off is refused, and a row that says so all the same is not obeyed; its letter can be switched
    off."""
    refused = a_problem(ada.patch(PREFERENCES, {"channels": {"in_app": {event: False}}}), 422, "always_on")
    assert pointers(refused) == {f"/channels/in_app/{event}"}
    if event in bus.EMAIL_EVENTS:
        assert ada.patch(PREFERENCES, {"channels": {"email": {event: False}}}).status_code == 200

    def plant(tx: Any) -> None:
        tx.lock_preferences(ADA.user_id, tx.act.at).switched_off = {"in_app": [event.value]}

    house.container.units.run(plant)
    assert ada.get(PREFERENCES).get_json()["channels"]["in_app"][event] is True


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"locale": "de"}, "/locale"),
        ({"locale": "fr; DROP TABLE users"}, "/locale"),
        ({"locale": 7}, "/locale"),
        ({"channels": {"sms": {"ORDER_CREATED": False}}}, "/channels/sms/[key]"),
        ({"channels": {"email": {"NONSENSE": False}}}, "/channels/email/NONSENSE/[key]"),
        ({"channels": {"email": {"ORDER_CREATED": False}}}, "/channels/email/ORDER_CREATED"),
        ({"channels": {"email": {"PAYMENT_FAILED": "no"}}}, "/channels/email/PAYMENT_FAILED"),
        ({"user_id": "u-ben"}, "/user_id"),
    ],
)
def test_a_preference_that_makes_no_sense_is_refused_by_name(ada: Client, body: Any, pointer: str) -> None:
    """And nothing changes."""
    before = ada.get(PREFERENCES).get_json()
    assert pointers(a_problem(ada.patch(PREFERENCES, body), 422)) == {pointer}
    assert ada.get(PREFERENCES).get_json() == before


def test_preferences_are_ones_own(house: House, app: Flask, ada: Client, ben: Client) -> None:
    """Ben's do not touch Ada's; a key has none."""
    ben.patch(PREFERENCES, {"locale": "fr", "channels": {"email": {"PAYMENT_FAILED": False}}})
    assert ada.get(PREFERENCES).get_json()["locale"] is None
    key = Client(app.test_client(), a_service_key(house))
    a_problem(key.get(PREFERENCES), 403)
    a_problem(key.patch(PREFERENCES, {"locale": "fr"}), 403)


# -- the sender ------------------------------------------------------------------------------------------------------


def test_letters_come_in_the_workspaces_name_from_the_houses_address(house: House, admin: Client) -> None:
    """The name is the workspace's, answers go to it, the address stays the installation's."""
    shown = admin.patch(POLICY, {"mail_from_name": "Café Harbour, Lagos", "mail_reply_to": "desk@harbour.example"})
    assert shown.get_json()["mail_from_name"] == "Café Harbour, Lagos"
    house.paid()
    (letter,) = house.letters()
    assert letter["headers"]["From"] == '"Café Harbour, Lagos" <no-reply@payflow.invalid>'
    assert letter["headers"]["Reply-To"] == "desk@harbour.example"
    assert letter["from"] == "no-reply@payflow.invalid"


def test_without_one_the_installation_signs(house: House) -> None:
    """As PAYFLOW_MAIL_FROM says."""
    house.paid()
    (letter,) = house.letters()
    assert letter["headers"]["From"] == "payflow <no-reply@payflow.invalid>"
    assert "Reply-To" not in letter["headers"]


@pytest.mark.parametrize(
    "body",
    [
        {"mail_from_name": "Harbour\r\nBcc: evil@example.com"},
        {"mail_from_name": "Harbour\nX: y"},
        {"mail_from_name": "bank@example.com"},
        {"mail_from_name": 'Harbour" <evil@example.com>'},
        {"mail_from_name": ""},
        {"mail_from_name": "x" * 101},
        {"mail_reply_to": "desk@harbour.example\r\nBcc: evil@example.com"},
        {"mail_reply_to": "a@b.example, evil@example.com"},
        {"mail_reply_to": "nobody"},
        {"locale": "klingon"},
    ],
)
def test_a_sender_that_could_break_a_header_is_refused(admin: Client, body: dict[str, str]) -> None:
    """At the door, by name; nothing is stored."""
    assert pointers(a_problem(admin.patch(POLICY, body), 422)) == {f"/{next(iter(body))}"}
    shown = admin.get(POLICY).get_json()
    assert (shown["mail_from_name"], shown["mail_reply_to"], shown["locale"]) == (None, None, None)


# -- true when it goes out -------------------------------------------------------------------------------------------


def hold_mail(house: House) -> None:
    """The mail server refuses everything, for now."""
    house.fault("mail_rejected", times=None, params={"code": 451})


def release_mail(house: House) -> None:
    house.control("DELETE", "/sandbox/faults")
    house.later(3_600)


def test_a_failure_followed_by_success_before_its_letter_is_sent_gets_no_letter(house: House) -> None:
    """The mail server is down, the customer fails, tries again and pays: one letter goes out, about the payment."""
    hold_mail(house)
    order_id, reference = house.initiated()
    house.pay(reference, "decline")
    house.ask(reference)
    opened = house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    house.drain()
    house.pay(opened.reference)
    house.ask(opened.reference)
    release_mail(house)
    assert [letter["subject"].split(":")[0] for letter in house.letters()] == ["Payment successful"]
    letters = [row for row in house.rows(Notification) if row.channel == Channel.EMAIL]
    assert [(row.event, row.withdrawn_at is None) for row in letters] == [
        ("PAYMENT_FAILED", False),
        ("PAYMENT_COMPLETED", True),
    ]
    assert "Payment failed" in titles(house)  # in the app it stands in its place in the story
    assert_sound(house)


def test_a_failure_that_stands_is_told_however_late(house: House) -> None:
    """Nobody tried again: the letter is still true."""
    hold_mail(house)
    _, reference = house.initiated()
    house.pay(reference, "decline")
    house.ask(reference)
    house.control("DELETE", "/sandbox/faults")
    house.later(120)
    assert [letter["subject"].split(":")[0] for letter in house.letters()] == ["Payment failed"]


def test_an_expiry_overtaken_by_late_money_gets_no_letter(house: House) -> None:
    """“Was not paid in time” is not said to somebody whose late money was taken."""
    hold_mail(house)
    order_id, reference = house.initiated()
    house.later(1_801)
    assert house.order_row(order_id).status == "expired"
    house.pay(reference)
    house.ask(reference)
    assert house.order_row(order_id).status == "completed"
    release_mail(house)
    assert {letter["subject"].split(":")[0] for letter in house.letters()} == {"Payment successful"}


def test_a_letter_says_what_the_order_has_come_to(house: House) -> None:
    """Sent after confirmation it speaks of confirmed bookings, after a whole refund of money given back."""
    hold_mail(house)
    order_id, payment_id = a_paid_payment(house)
    house.container.refunds.request_refund(ADMIN, payment_id, amount_minor=None, reason=RefundReason.OTHER)
    house.later(60)
    house.later(600)
    assert house.order_row(order_id).status == "refunded"
    a_paid_payment(house)
    release_mail(house)
    paid = [letter["text"] for letter in house.letters() if letter["subject"].startswith("Payment successful")]
    assert sorted("given back since" in text for text in paid) == [False, True]
    assert sum("Your bookings are confirmed" in text for text in paid) == 1


def test_a_withdrawn_letter_is_told_in_the_timeline(house: House, operator: Client) -> None:
    """Staff see why no letter went out."""
    hold_mail(house)
    order_id, reference = house.initiated()
    house.pay(reference, "decline")
    house.ask(reference)
    house.container.payments.initiate_payment(ADA, order_id, gateway="paystack")
    release_mail(house)
    entries = operator.get(f"/payment/orders/{order_id}/timeline/").get_json()["entries"]
    assert any("withdrawn" in entry["what"] for entry in entries)


def test_a_payload_nobody_can_read_stops_only_itself(house: House) -> None:
    """An event without its facts is kept back; its neighbours are told."""
    house.order()

    def break_one(tx: Any) -> None:
        event = tx.many(OutboxEvent, [row.id for row in house.rows(OutboxEvent)])[0]
        event.payload = {**event.payload, "total_amount": "lots"}

    house.container.units.run(break_one)
    house.order(Caller(user_id="u-other", email="o@example.com", name="O"))
    house.drain()
    assert len(titles(house)) == 1

"""The Paystack dialect against Paystack's own specification, samples, recorded requests and signatures."""

import base64
import json

import pytest

from payflow.sandbox import paystack_shapes
from payflow.sandbox.dialect import Event, Fact
from payflow.sandbox.records import RefundStatus
from tests.contract.official import SPECS, needs_specs
from tests.sandbox.paystack_side import KEY, Paystack, check, official_sample


@needs_specs
def test_golden_requests_of_the_official_library_are_accepted(paystack: Paystack) -> None:
    """What Paystack's own library really sends gets the answer Paystack would give."""
    lines = (SPECS / "golden" / "golden-paystack.jsonl").read_text(encoding="utf-8").splitlines()
    answers = []
    for line in lines:
        golden = json.loads(line)
        if (golden["method"], golden["path"]) == ("POST", "/refund"):
            paystack.pay("PF-1")
        headers = {**golden["headers"], "authorization": KEY["Authorization"]}
        answers.append(
            paystack.client.open(
                "/paystack" + golden["path"], method=golden["method"], headers=headers, data=golden["body"]
            )
        )
    assert [answer.status_code for answer in answers] == [200, 200, 404, 200, 404, 200]
    assert answers[0].json["data"]["reference"] == "PF-1"
    assert answers[3].json["message"] == "Refund has been queued for processing"


@needs_specs
def test_signature_of_official_bytes_then_equals_the_vectors() -> None:
    """The signature is the one openssl, Python and Node agree on, over the raw bytes."""
    vectors = json.loads((SPECS / "signature-vectors.json").read_text(encoding="utf-8"))["paystack"]
    for vector in vectors:
        body = base64.b64decode(vector["body_b64"])
        assert paystack_shapes.signature(body, vector["secret"]) == vector["signature"], vector["note"]


def test_signature_of_a_fixed_body_then_is_the_known_hex() -> None:
    """The signature is lowercase hex HMAC-SHA512 of the body under the secret key, checked without the specs."""
    body = (
        b'{"event":"charge.success","data":{"reference":"PF-1","amount":20000,"metadata":'
        b'{"url":"https:\\/\\/m.example\\/o","name":"Ad\\u00e1 \xe2\x82\xa6","ratio":1.0}}}'
    )
    assert paystack_shapes.signature(body, "sk_test_vector_0001") == (
        "68b6e9d6e6f1a27c8808019720d7816c006c24a834d8eab957c53d19cf89e007"
        "4c545cb5eb96afdbd85b4af385fdc747d95a945d653317297f5f01a940855450"
    )


@needs_specs
def test_answers_of_initialize_verify_and_refund_then_satisfy_the_specification(paystack: Paystack) -> None:
    """The answers whose official schema holds for the official samples hold for the sandbox too."""
    check(paystack.initialize().json, "/transaction/initialize", "post")
    duplicate = paystack.initialize()
    check(duplicate.json, "/transaction/initialize", "post", "400")
    paystack.pay()
    check(paystack.verify().json, "/transaction/verify/{reference}", "get")
    check(paystack.refund().json, "/refund", "post")


@needs_specs
@pytest.mark.parametrize(
    ("sample", "path"),
    [
        ("api.transactions.verify.json", "/transaction/verify/PF-1"),
        ("api.transactions.fetch.json", "/transaction/{transaction}"),
        ("api.refunds.fetch.json", "/refund/{refund}"),
    ],
)
def test_answer_fields_then_are_those_of_the_official_sample(paystack: Paystack, sample: str, path: str) -> None:
    """An adapter that reads any field of the official sample finds it in the sandbox's answer."""
    transaction = paystack.paid()
    refund = paystack.refund().json["data"]
    answer = paystack.get(path.format(transaction=transaction["id"], refund=refund["id"])).json
    official = official_sample(sample)["200"]["data"]
    assert set(answer) == set(official)
    assert set(official["data"]) <= set(answer["data"])


@needs_specs
@pytest.mark.parametrize(
    ("sample", "fact", "status"),
    [
        ("webhook.refund.pending.json", Fact.REFUND_PENDING, RefundStatus.PENDING),
        ("webhook.refund.processing.json", Fact.REFUND_PROCESSING, RefundStatus.PROCESSING),
        ("webhook.refund.processed.json", Fact.REFUND_PROCESSED, RefundStatus.PROCESSED),
        ("webhook.refund.failed.json", Fact.REFUND_FAILED, RefundStatus.FAILED),
        ("webhook.refund.needs-attention.json", Fact.REFUND_NEEDS_ATTENTION, RefundStatus.NEEDS_ATTENTION),
    ],
)
def test_refund_webhook_then_has_the_official_fields_and_types(
    paystack: Paystack, sample: str, fact: Fact, status: RefundStatus
) -> None:
    """Each refund event has exactly the sample's fields; the amount is text or number as in the sample."""
    paystack.paid()
    paystack.refund(amount=5000)
    state = paystack.rooms.party.state
    refund = next(iter(state.refunds.values()))
    refund.status = status
    body = paystack_shapes.webhook_body(Event(fact=fact, charge=state.charges[refund.charge_id], refund=refund))
    assert body is not None
    mine, official = json.loads(body[1]), official_sample(sample)
    assert mine["event"] == official["event"]
    assert set(mine["data"]) == set(official["data"])
    assert type(mine["data"]["amount"]) is type(official["data"]["amount"])
    assert (mine["data"]["refund_reference"] is None) == (official["data"]["refund_reference"] is None)


@needs_specs
def test_charge_and_dispute_webhooks_then_have_the_official_fields(paystack: Paystack) -> None:
    """charge.success and charge.dispute.* carry at least the fields of their samples."""
    paystack.paid()
    for fault in ("dispute", "dispute_resolve"):
        paystack.client.post("/sandbox/faults", json={"fault": fault, "reference": "PF-1"})
    paid, opened, resolved = paystack.sent()
    for mine, sample in (
        (paid, "webhook.charge.success.json"),
        (opened, "webhook.charge.dispute.create.json"),
        (resolved, "webhook.charge.dispute.resolve.json"),
    ):
        official = official_sample(sample)
        assert mine["event"] == official["event"]
        assert set(official["data"]) <= set(mine["data"])
    assert paid["data"]["metadata"] == 0
    assert resolved["data"]["transaction"]["status"] == "reversed"

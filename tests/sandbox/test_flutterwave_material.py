"""The Flutterwave dialect against the published specification, samples, recorded requests and signatures."""

import base64
import json

from payflow.sandbox import flutterwave_shapes as shapes
from tests.contract.official import SPECS, needs_specs
from tests.sandbox.flutterwave_side import DAYS, KEY, Flutterwave, check, official_sample


@needs_specs
def test_golden_requests_of_the_official_library_are_accepted(flutterwave: Flutterwave) -> None:
    """What Flutterwave's own library really sends gets the answer Flutterwave would give."""
    number = flutterwave.paid()["id"]
    answers = []
    for line in (SPECS / "golden" / "golden-flutterwave.jsonl").read_text(encoding="utf-8").splitlines():
        golden = json.loads(line)
        path = golden["path"].removeprefix("/v3").replace("4975363", str(number))
        body = golden["body"].replace("10.5", "100.5")
        headers = {**golden["headers"], "authorization": KEY["Authorization"]}
        answers.append(
            flutterwave.client.open(f"/flutterwave{path}", method=golden["method"], headers=headers, data=body)
        )
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404]  # the last is the timeline
    assert answers[2].json["data"]["amount_refunded"] == 100.5


@needs_specs
def test_signature_of_official_bytes_then_equals_the_vectors() -> None:
    """Both proofs are the ones openssl and Python agree on, over the raw bytes."""
    for vector in json.loads((SPECS / "signature-vectors.json").read_text(encoding="utf-8"))["flutterwave"]:
        body = base64.b64decode(vector["body_b64"])
        proofs = {"verif-hash": vector["secret"], "flutterwave-signature": shapes.signature(body, vector["secret"])}
        assert proofs[vector["header"]] == vector["signature"], vector["note"]


def test_signature_of_a_fixed_body_then_is_the_known_text() -> None:
    """base64 of HMAC-SHA256 under the secret hash, checked without the specs."""
    body = b'{"event":"charge.completed","data":{"id":285959875,"tx_ref":"PF-1","amount":100,"currency":"NGN",'
    body += b'"status":"successful"}}'
    assert shapes.signature(body, "flw-secret-hash-1") == "iuWzgQddRoj+bpYl1WXsXmNGAO5MkW7kd/BQk4rqBa8="


@needs_specs
def test_answers_then_satisfy_the_specification(flutterwave: Flutterwave) -> None:
    """Every answer holds against the patched specification."""
    check(flutterwave.pay_link().json, "/v3/payments", "post")
    check(flutterwave.verify().json, "/v3/transactions/verify_by_reference", "get", "400")
    flutterwave.pay()
    number = flutterwave.data()["id"]
    check(flutterwave.verify().json, "/v3/transactions/verify_by_reference", "get")
    check(flutterwave.get(f"/transactions/{number}/verify").json, "/v3/transactions/{id}/verify", "get")
    check(flutterwave.get(f"/transactions?{DAYS}").json, "/v3/transactions", "get")
    created = flutterwave.refund(number, amount=100).json
    check(created, "/v3/transactions/{id}/refund", "post")
    check(flutterwave.get(f"/refunds/{created['data']['id']}").json, "/v3/refunds/{id}", "get")
    check(flutterwave.get("/refunds").json, "/v3/refunds", "get")


@needs_specs
def test_answer_fields_then_are_those_of_the_official_samples(flutterwave: Flutterwave) -> None:
    """An adapter that reads any field of an official sample finds it in the sandbox's answer."""
    number = flutterwave.paid()["id"]
    created = flutterwave.refund(number, amount=100, comments="x").json
    for mine, sample in (
        (flutterwave.verify().json, "get.v3.transactions.verify_by_reference.200"),
        (flutterwave.get(f"/transactions/{number}/verify").json, "get.v3.transactions.id.verify.200"),
        (flutterwave.get(f"/transactions?{DAYS}").json, "get.v3.transactions.200"),
        (created, "post.v3.transactions.id.refund.200"),
        (flutterwave.get("/refunds").json, "get.v3.refunds.200"),
    ):
        official = official_sample(sample)
        ours, theirs = (one["data"][0] if isinstance(one["data"], list) else one["data"] for one in (mine, official))
        assert set(mine) == set(official), sample
        assert mine["message"] == official["message"]
        assert set(theirs) <= set(ours), sample
        if "meta" in official:
            assert set(mine["meta"]["page_info"]) == set(official["meta"]["page_info"])
    assert flutterwave.verify("PF-9").json == official_sample("get.v3.transactions.verify_by_reference.400")

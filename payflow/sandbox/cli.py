"""The sandbox's own command line; payflow's command line hands `python -m payflow sandbox …` to `main`.

Options to configuration, nothing else.
"""

import argparse
import os
import secrets
from pathlib import Path

from payflow.sandbox.app import DEVELOPMENT_SECRET, SandboxConfig, serve, webhook_urls
from payflow.sandbox.flutterwave import DEVELOPMENT_HASH as FLUTTERWAVE_HASH
from payflow.sandbox.flutterwave import DEVELOPMENT_SECRET as FLUTTERWAVE_SECRET
from payflow.sandbox.flutterwave import signature_of
from payflow.sandbox.stripe import DEVELOPMENT_SECRET as STRIPE_SECRET
from payflow.sandbox.stripe import DEVELOPMENT_WEBHOOK_SECRET as STRIPE_WEBHOOK_SECRET


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    options = argparse.ArgumentParser(
        prog="payflow sandbox",
        description="A payment gateway to develop and test against: it speaks the gateways' wire formats, "
        "moves no money, and misbehaves on request. Its control API has no login: keep it on a loopback address.",
    )
    options.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    options.add_argument("--port", type=int, default=8090, help="port to listen on (default %(default)s)")
    options.add_argument(
        "--smtp-port",
        type=int,
        default=1025,
        help="port of the mail catcher, -1 for none (default %(default)s)",
    )
    options.add_argument("--public-url", help="address browsers reach the pay page at, if not that of the request")
    options.add_argument(
        "--paystack-secret",
        default=os.environ.get("PAYSTACK_SECRET_KEY") or DEVELOPMENT_SECRET,
        help="Paystack secret key (default $PAYSTACK_SECRET_KEY, else sk_test_sandbox)",
    )
    options.add_argument(
        "--flutterwave-secret",
        default=os.environ.get("FLUTTERWAVE_SECRET_KEY") or FLUTTERWAVE_SECRET,
        help=f"Flutterwave secret key (default $FLUTTERWAVE_SECRET_KEY, else {FLUTTERWAVE_SECRET})",
    )
    options.add_argument(
        "--flutterwave-hash",
        default=os.environ.get("FLUTTERWAVE_WEBHOOK_HASH") or FLUTTERWAVE_HASH,
        help="Flutterwave secret hash that webhooks prove themselves with, as payflow takes it: of several the first, "
        f"by one scheme after static: or hmac: (default $FLUTTERWAVE_WEBHOOK_HASH, else {FLUTTERWAVE_HASH})",
    )
    options.add_argument(
        "--stripe-secret",
        default=os.environ.get("STRIPE_SECRET_KEY") or STRIPE_SECRET,
        help=f"Stripe secret key (default $STRIPE_SECRET_KEY, else {STRIPE_SECRET})",
    )
    options.add_argument(
        "--stripe-webhook-secret",
        default=os.environ.get("STRIPE_WEBHOOK_SECRET") or STRIPE_WEBHOOK_SECRET,
        help="the endpoint's secret that Stripe's webhooks are signed with, of several the first "
        f"(default $STRIPE_WEBHOOK_SECRET, else {STRIPE_WEBHOOK_SECRET})",
    )
    options.add_argument(
        "--webhook-base",
        default="http://127.0.0.1:8000",
        help="payflow's address; each gateway's webhook path is appended (default %(default)s)",
    )
    options.add_argument("--seed", type=int, help="equal seeds give equal ids (default: a new one each time)")
    options.add_argument("--state", type=Path, help="file that keeps charges and refunds over a restart")
    options.add_argument(
        "--refund-seconds",
        type=float,
        default=2,
        help="how long a refund takes from pending to processed (default %(default)s)",
    )
    options.add_argument("--merchant", default="Sandbox merchant", help="name shown on the pay page")
    return options


def main(argv: list[str]) -> int:
    """Run the sandbox until it is told to stop."""
    given = parser().parse_args(argv)
    flutterwave_hash, flutterwave_signatures = signature_of(given.flutterwave_hash)
    config = SandboxConfig(
        secrets={
            "paystack": given.paystack_secret,
            "flutterwave": given.flutterwave_secret,
            "stripe": given.stripe_secret,
        },
        webhook_secrets={
            "flutterwave": flutterwave_hash,
            "stripe": given.stripe_webhook_secret.partition(",")[0].strip(),
        },
        flutterwave_signatures=flutterwave_signatures,
        webhook_urls=webhook_urls(given.webhook_base) if given.webhook_base else {},
        seed=secrets.randbelow(1 << 31) if given.seed is None else given.seed,
        public_url=given.public_url,
        state_path=given.state,
        refund_seconds=given.refund_seconds,
        smtp_port=given.smtp_port,
        merchant=given.merchant,
    )
    return serve(config, given.host, given.port)

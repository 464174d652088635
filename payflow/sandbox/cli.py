"""The sandbox's own command line; payflow's command line hands `python -m payflow sandbox …` to `main`.

Options to configuration, nothing else.
"""

import argparse
import os
import secrets
from pathlib import Path

from payflow.sandbox.app import SandboxConfig, serve, webhook_urls
from payflow.sandbox.dialects import DIALECTS


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
    for name, row in DIALECTS.items():
        _secret_option(options, f"{name.upper()}_SECRET_KEY", row.secret, f"the key {name} is called with")
        if row.webhook_setting is not None:
            _secret_option(options, row.webhook_setting, row.webhook_secret, f"what proves {name}'s webhooks")
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


def _secret_option(options: argparse.ArgumentParser, variable: str, development: str | None, what: str) -> None:
    """An option named after payflow's own variable, which is its default; of several secrets the first counts."""
    options.add_argument(
        "--" + variable.lower().replace("_", "-"),
        default=os.environ.get(variable) or development,
        type=lambda text: text.partition(",")[0].strip(),
        metavar="SECRET",
        help=f"{what} (default ${variable}, else {development})",
    )


def main(argv: list[str]) -> int:
    """Run the sandbox until it is told to stop."""
    given = parser().parse_args(argv)
    secrets_given = vars(given)
    config = SandboxConfig(
        secrets={name: secrets_given[f"{name}_secret_key"] for name in DIALECTS},
        webhook_secrets={
            name: secrets_given[row.webhook_setting.lower()] for name, row in DIALECTS.items() if row.webhook_setting
        },
        webhook_urls=webhook_urls(given.webhook_base) if given.webhook_base else {},
        seed=secrets.randbelow(1 << 31) if given.seed is None else given.seed,
        public_url=given.public_url,
        state_path=given.state,
        refund_seconds=given.refund_seconds,
        smtp_port=given.smtp_port,
        merchant=given.merchant,
    )
    return serve(config, given.host, given.port)

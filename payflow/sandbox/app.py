"""The sandbox as one Flask application, and as a running server with its mail catcher and webhook sender.

Wiring only: which gateways exist, which routes are mounted, what starts and stops.
"""

import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiosmtpd.controller import Controller
from flask import Flask, Response, jsonify, render_template, request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from payflow.sandbox.clock import OffsetClock
from payflow.sandbox.control import control_blueprint
from payflow.sandbox.counterparty import Counterparty
from payflow.sandbox.dialects import DIALECTS
from payflow.sandbox.fault_table import FAULT_TABLE, MAIL, FaultName
from payflow.sandbox.faults import FaultBook
from payflow.sandbox.mail import Mailbox, mail_blueprint, smtp_server
from payflow.sandbox.pages import pages_blueprint
from payflow.sandbox.records import Charge
from payflow.sandbox.state import SandboxState
from payflow.sandbox.webhooks import RETRY_SECONDS, WebhookSender, WebhookTargets

BODY_BYTES = 1_000_000
WEBHOOK_PATH = "/api/v1/payment/webhooks/{gateway}/"
OPEN_TO_BROWSERS = ("/sandbox/", "/mail/messages", "/healthz")
SMTP_OFF = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """Everything the sandbox can be told at its start."""

    secrets: Mapping[str, str] = field(default_factory=dict)
    """Per gateway, where not the development key: the one callers must show and webhooks are signed with."""
    webhook_secrets: Mapping[str, str] = field(default_factory=dict)
    """Per gateway whose webhooks are signed with a secret of their own, where not the development one."""
    webhook_urls: Mapping[str, str] = field(default_factory=dict)
    webhook_retry_seconds: tuple[float, ...] = RETRY_SECONDS
    seed: int = 1
    public_url: str | None = None
    """The address browsers reach the pay page at; None = the address the request came to."""
    state_path: Path | None = None
    refund_seconds: float = 2
    smtp_port: int = SMTP_OFF
    """0 = any free port, -1 = no mail catcher on SMTP."""
    merchant: str = "Sandbox merchant"


@dataclass(frozen=True, slots=True)
class SandboxRooms:
    """The parts of one sandbox, for its server and for tests: `app.extensions["sandbox"]`."""

    config: SandboxConfig
    party: Counterparty
    sender: WebhookSender
    targets: WebhookTargets
    mailbox: Mailbox


def create_app(config: SandboxConfig, *, clock: OffsetClock | None = None) -> Flask:
    """Build the application; no thread and no port is opened here."""
    clock = clock or OffsetClock()
    state = SandboxState(seed=config.seed, path=config.state_path)
    party = Counterparty(
        state=state, faults=FaultBook(seed=config.seed), clock=clock, refund_seconds=config.refund_seconds
    )
    secrets = {name: config.secrets.get(name, row.secret) for name, row in DIALECTS.items()}
    signing = {
        name: config.webhook_secrets.get(name) or row.webhook_secret or secrets[name] for name, row in DIALECTS.items()
    }
    targets = WebhookTargets(secrets=signing, urls=dict(config.webhook_urls))
    sender = WebhookSender(party, targets, retry_seconds=config.webhook_retry_seconds)
    rooms = SandboxRooms(config, party, sender, targets, Mailbox(clock))

    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    app.extensions["sandbox"] = rooms
    app.url_map.strict_slashes = False

    def page_url(charge: Charge) -> str:
        return (config.public_url or request.host_url).rstrip("/") + f"/checkout/{charge.access_code}"

    for name, row in DIALECTS.items():
        dialect = row.make(party, secret=secrets[name], page_url=page_url)
        party.dialects[name] = dialect
        app.register_blueprint(dialect.blueprint(), url_prefix=f"/{name}")
    app.register_blueprint(pages_blueprint(party, merchant=config.merchant))
    app.register_blueprint(control_blueprint(party, sender, targets))
    app.register_blueprint(mail_blueprint(rooms.mailbox))
    _add_house_routes(app, rooms)
    return app


def _add_house_routes(app: Flask, rooms: SandboxRooms) -> None:
    @app.get("/")
    def index() -> str:
        with rooms.party.state.lock:
            newest = list(rooms.party.state.charges.values())[-20:][::-1]
            return render_template(
                "index.html", table=FAULT_TABLE.values(), planted=rooms.party.faults.plans(), charges=newest,
                gateways=sorted(rooms.party.dialects), targets=rooms.targets.urls,
            )  # fmt: skip

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "ok", "gateways": sorted(rooms.party.dialects)})

    @app.after_request
    def let_browsers_in(response: Response) -> Response:
        """The demo page lives at another port: it may read and script the sandbox from the browser."""
        if request.path.startswith(OPEN_TO_BROWSERS):
            response.headers["Access-Control-Allow-Origin"] = "*"
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, DELETE, OPTIONS"
            response.headers["Access-Control-Allow-Headers"] = "Content-Type"
            response.headers["Access-Control-Max-Age"] = "600"
        return response


class _QuietHandler(WSGIRequestHandler):
    """Keeps connections open like a real gateway, and leaves the log to the call log."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing per request."""


class RunningSandbox:
    """A sandbox that listens: `url`, `smtp_port`, `stop()`."""

    def __init__(self, app: Flask, server: BaseWSGIServer, smtp: Controller | None) -> None:
        """Start the threads behind a server that is already bound."""
        self.app = app
        self.rooms: SandboxRooms = app.extensions["sandbox"]
        self._server = server
        self._smtp = smtp
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="sandbox-http", daemon=True)
        self.rooms.sender.start()
        self._thread.start()

    @property
    def url(self) -> str:
        """The address requests reach this sandbox at."""
        return f"http://{self._server.host}:{self._server.port}"

    @property
    def smtp_port(self) -> int | None:
        """The mail catcher's port."""
        return None if self._smtp is None else int(self._smtp.port)

    def stop(self) -> None:
        """Stop everything; waiting faults end at once, what was not delivered stays in the journal."""
        self.rooms.party.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
        self.rooms.sender.stop()
        if self._smtp is not None:
            self._smtp.stop()
        self.rooms.party.state.close()


def start(
    config: SandboxConfig, host: str = "127.0.0.1", port: int = 0, *, clock: OffsetClock | None = None
) -> RunningSandbox:
    """Start a sandbox in threads of this process; port 0 takes any free one."""
    app = create_app(config, clock=clock)
    rooms: SandboxRooms = app.extensions["sandbox"]
    server = make_server(host, port, app, threaded=True, request_handler=_QuietHandler)
    smtp: Controller | None = None
    if config.smtp_port != SMTP_OFF:
        smtp_port = config.smtp_port or _free_port(host)
        smtp = smtp_server(rooms.mailbox, host=host, port=smtp_port, refusal=_mail_refusal(rooms))
        try:
            smtp.start()
        except OSError:
            server.server_close()
            raise
    return RunningSandbox(app, server, smtp)


def serve(config: SandboxConfig, host: str, port: int) -> int:
    """Run a sandbox until SIGTERM or SIGINT; returns the exit code."""
    asked_to_stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: asked_to_stop.set())
    sandbox = start(config, host, port)
    address = f"sandbox {sandbox.url}  smtp {sandbox.smtp_port or 'off'}"
    print(address, flush=True)
    asked_to_stop.wait()
    sandbox.stop()
    return 0


def webhook_urls(base: str) -> dict[str, str]:
    """Return payflow's webhook address per gateway under the address `base` of its front."""
    return {gateway: base.rstrip("/") + WEBHOOK_PATH.format(gateway=gateway) for gateway in DIALECTS}


def _mail_refusal(rooms: SandboxRooms) -> Callable[[str], int | None]:
    def refusal(recipient: str) -> int | None:
        plan = rooms.party.faults.take(FaultName.MAIL_REJECTED, gateway=MAIL, reference=recipient, operation=MAIL)
        return None if plan is None else int(plan.params["code"])

    return refusal


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])

"""The demo page: the main job, live, in one page. Served only in development (`settings.demo`, never in live mode).

It hands out logins for its own cast, adds bookings for its customer and tells the story of its own orders; everything
else the page does goes through the public API like any other client. What must not enter: payment logic, SQL, and
orders of any workspace but the demo's own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import jwt
from flask import Blueprint, Flask, Response, jsonify, redirect, render_template, request

from payflow import demo_data
from payflow.container import Container
from payflow.core.errors import NotFound
from payflow.core.identifiers import is_uuid
from payflow.store.timeline import read_order
from web.demo.story import order_story

TOKEN_SECONDS = 3_600
FLOWER_PORT = 5_555
"""Flower's usual port: a hint, since the web does not know what else runs."""
OWN_WORKSPACES = (demo_data.WORKSPACE_ID, "demo-")
"""The page's workspace, and those the headless demo makes for its journeys (by prefix)."""


def register(app: Flask, container: Container) -> None:
    """Mount the demo at `/demo/` and lead `/` to it.

    Does nothing unless the demo is on, and nothing where logins come from elsewhere (JWKS) and cannot be signed here.
    """
    settings = container.settings
    if not settings.demo or settings.is_live or settings.jwt_secret is None:
        return
    app.register_blueprint(blueprint(container))
    app.add_url_rule("/", "demo_home", lambda: redirect("/demo/", code=302))


def blueprint(container: Container) -> Blueprint:
    """The demo's routes."""
    settings = container.settings
    routes = Blueprint(
        "demo",
        __name__,
        url_prefix="/demo",
        template_folder="templates",
        static_folder="static",
        static_url_path="/static",
    )

    @routes.get("/")
    def page() -> Response:
        answer = Response(render_template("demo.html"), mimetype="text/html")
        answer.headers["Content-Security-Policy"] = _page_policy(settings.sandbox_url)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @routes.get("/session")
    def session() -> Response:
        """A short-lived login and where things are. `?who=operator` for the other side of the counter."""
        who = "operator" if request.args.get("who") == "operator" else "customer"
        answer = jsonify(_session(container, who))
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @routes.post("/bookings")
    def add_bookings() -> tuple[Response, int]:
        """A fresh handful of pending bookings for the demo's customer."""
        return jsonify({"booking_ids": demo_data.add_bookings(container)}), 201

    @routes.get("/orders/<order_id>/story")
    def story(order_id: str) -> Response:
        """Everything on record about an order of the demo's own workspaces."""
        if not is_uuid(order_id):
            raise NotFound
        with container.units.reading() as rows:
            record = read_order(rows, order_id)
        if record is None or not record.order.workspace_id.startswith(OWN_WORKSPACES):
            raise NotFound
        answer = jsonify(order_story(record, now=container.clock.now()))
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return routes


def _page_policy(sandbox_url: str | None) -> str:
    """Own scripts and styles only; besides the API the page may talk to the sandbox."""
    sandbox = _origin(sandbox_url)
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{f' {sandbox}' if sandbox else ''}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _origin(url: str | None) -> str | None:
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else None


def _session(container: Container, who: str) -> dict[str, Any]:
    settings, is_operator = container.settings, who == "operator"
    membership = {"name": demo_data.WORKSPACE_NAME, "role": "member"}
    now = container.clock.now()
    claims: dict[str, Any] = {
        "sub": demo_data.OPERATOR_ID if is_operator else demo_data.CUSTOMER_ID,
        "email": "operations@example.com" if is_operator else demo_data.CUSTOMER_EMAIL,
        "name": "Operations" if is_operator else demo_data.CUSTOMER_NAME,
        "workspaces": {} if is_operator else {demo_data.WORKSPACE_ID: membership},
        "scope": "operator" if is_operator else "",
        "iat": now,
        "exp": now + timedelta(seconds=TOKEN_SECONDS),
    }
    if settings.jwt_audience:
        claims["aud"] = settings.jwt_audience
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    return {
        "token": jwt.encode(claims, settings.jwt_secret or "", algorithm="HS256"),
        "expires_in": TOKEN_SECONDS,
        "who": who,
        "user": {"id": claims["sub"], "email": claims["email"], "name": claims["name"]},
        "workspace": {"id": demo_data.WORKSPACE_ID, "name": demo_data.WORKSPACE_NAME},
        "gateways": list(settings.gateways),
        "public_url": settings.public_url,
        "sandbox_url": settings.sandbox_url,
        "mail_url": f"{settings.sandbox_url}/mail" if settings.sandbox_url else None,
        "flower_url": _flower_hint(settings.public_url),
        "docs_url": "/api/v1/docs/",
    }


def _flower_hint(public_url: str) -> str | None:
    """Flower is a local tool: hinted at on this machine only."""
    host = urlsplit(public_url).hostname
    return f"http://{host}:{FLOWER_PORT}/" if host in ("127.0.0.1", "localhost") else None

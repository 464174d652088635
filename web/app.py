"""The Flask app: its sections, and what every request and answer has in common. Rules and rows live elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

from flask import Flask, Response, g, request
from flask_cors import CORS
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic import ValidationError
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.middleware.proxy_fix import ProxyFix

import payflow
from payflow import container as wiring
from payflow import logs
from payflow.container import Container
from payflow.core.errors import Forbidden
from payflow.settings import Settings
from web import (
    bookings,
    decisions,
    demo,
    docs,
    errors,
    health,
    notifications,
    orders,
    payments,
    rate_limits,
    refunds,
    reports,
    webhook_endpoints,
    webhooks,
    workspaces,
)
from web.auth import Unauthenticated
from web.context import caller, furnish, install, web
from web.requests import RequestIds, StrictRequest
from web.schemas import Problem
from web.sections import BASE, BEARER, needs_caller

SECTIONS = (
    bookings.api,
    orders.api,
    payments.api,
    refunds.api,
    webhooks.api,
    webhook_endpoints.api,
    notifications.api,
    workspaces.api,
    reports.api,
    decisions.api,
)
_ABOUT = (
    "Takes payments for bookings: orders, hosted payment pages, confirmations, refunds and messages. "
    "Amounts are integers in minor units; errors are problem+json (RFC 9457) with a stable `code`."
)
_JSON_POLICY = "default-src 'none'; frame-ancestors 'none'"
_TOLD_TO_PAGES = (
    "ETag", "Idempotency-Replayed", "Location", "Preference-Applied", "RateLimit-Limit", "RateLimit-Remaining",
    "RateLimit-Reset", "Retry-After", "X-Request-ID",
)  # fmt: skip
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class PayflowApp(OpenAPI):
    """Flask with our way of reading requests."""

    request_class = StrictRequest


def create_app(container: Container | None = None) -> Flask:
    """The app on a container; without one, a container is built from the environment."""
    if container is None:
        logs.configure(os.environ.get("PAYFLOW_LOG_LEVEL", "INFO"))
        container = wiring.build(Settings.from_environ(os.environ))
    app = PayflowApp(
        "web",
        info=Info(title="payflow", version=payflow.__version__, description=_ABOUT),
        security_schemes={
            BEARER: {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A signed token (`sub`, `email`, `name`, `workspaces`, `scope`) or a key `pfk_…`.",
            }
        },
        validation_error_model=Problem,
        validation_error_callback=_not_acceptable,
        doc_ui=False,
    )
    app.config["MAX_CONTENT_LENGTH"] = container.settings.max_body_bytes
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    install(app.extensions, furnish(container))
    errors.register(app)
    app.before_request(_refuse_too_large)
    app.before_request(_identify)
    rate_limits.install(app, container.settings)
    app.before_request(_admit)
    app.after_request(_harden)
    if container.settings.cors_origins:
        _open_to_pages_of(container.settings.cors_origins, app)
    for section in SECTIONS:
        app.register_api(section)
    app.register_blueprint(docs.pages)
    app.register_blueprint(health.pages)
    demo.register(app, container)
    app.wsgi_app = RequestIds(app.wsgi_app)  # type: ignore[method-assign]  # Flask's way to wrap
    if container.settings.trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]  # Flask's way to wrap
            app.wsgi_app, x_for=container.settings.trusted_proxies, x_proto=0, x_host=0
        )
    return app


def _not_acceptable(error: ValidationError) -> Response:
    return errors.from_validation(error)


def _refuse_too_large() -> None:
    """Before anything is read; what comes without a length is counted while it is read."""
    if (request.content_length or 0) > web().container.settings.max_body_bytes:
        raise RequestEntityTooLarge(f"A body may have at most {web().container.settings.max_body_bytes} bytes.")


def _identify() -> None:
    """Know the caller. A refusal waits until it has been counted against the address it came from."""
    if needs_caller():
        try:
            g.caller = web().authenticator.caller(request.headers.get("Authorization"))
        except Unauthenticated as refused:
            g.refused = refused


def _admit() -> None:
    if "refused" in g:
        raise cast(Unauthenticated, g.refused)
    if "caller" in g and caller().is_read_only and request.method not in ("GET", "HEAD"):
        raise Forbidden("This key may only read.", code="read_only_key")


def _open_to_pages_of(origins: Sequence[str], app: Flask) -> None:
    """Pages of these origins may call the API. Without cookies: a page sends the token itself."""
    CORS(
        app,
        resources={f"{BASE}/*": {"origins": list(origins)}},
        methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Prefer", "X-Request-ID"],
        expose_headers=_TOLD_TO_PAGES,
        supports_credentials=False,
        max_age=600,
    )


def _harden(response: Response) -> Response:
    """Headers every answer carries (OWASP Secure Headers)."""
    is_page = response.mimetype == "text/html"
    headers = response.headers
    headers.setdefault("Content-Security-Policy", _PAGE_POLICY if is_page else _JSON_POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("X-Frame-Options", "DENY")
    if web().container.settings.public_url.startswith("https://"):
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response

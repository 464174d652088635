"""Configuration: one frozen Settings, read from the environment and checked once at start.

Names are part of the contract. A secret may also come from a file: `PAYSTACK_SECRET_KEY_FILE=/run/…`.
A gateway without its secret is off; what cannot work stops the start with a sentence that says what to set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from payflow import failpoints
from payflow.core.errors import ConfigurationError
from payflow.core.gateways import GATEWAYS, GatewayRow
from payflow.core.polling import DEFAULT_POLL_PLAN
from payflow.core.rate_limits import Rate, read_rates
from payflow.core.web_addresses import is_allowed_return_url


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """One enabled gateway."""

    row: GatewayRow
    secret_key: str = field(repr=False)
    base_url: str
    webhook_secrets: tuple[str, ...] = field(repr=False)
    poll_plan: tuple[int, ...] = DEFAULT_POLL_PLAN
    """Seconds between questions after initiation."""

    @property
    def name(self) -> str:
        return self.row.name


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything payflow is told from outside."""

    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    cache_url: str | None = field(repr=False)
    public_url: str
    jwt_secret: str | None = field(repr=False)
    jwks_url: str | None
    jwt_audience: str | None
    jwt_issuer: str | None
    return_url_allowlist: tuple[str, ...]
    smtp_url: str | None = field(repr=False)
    mail_from: str
    alert_to: str | None
    """Where operators read what waits for a person; None = nowhere."""
    alert_every_seconds: int
    """At most one such letter in this time."""
    mode: str
    """`test` or `live`."""
    data_dir: Path
    gateways: Mapping[str, GatewaySettings]
    """Enabled gateways in routing order."""
    order_ttl_seconds: int
    web_port: int
    max_body_bytes: int
    rate_limits: Mapping[str, Rate] | None
    """How often a caller may come, by rule; None = as often as it likes."""
    trusted_proxies: int
    """How many proxies in front of web add to X-Forwarded-For; 0 = the header is not believed."""
    cors_origins: tuple[str, ...]
    """Origins whose pages may call the API from a browser."""
    gateway_log_days: int
    """How long the gateway log is kept."""
    webhook_allow_private: bool
    """Whether outbound webhooks may go to private addresses and over plain http (never in live mode)."""
    demo: bool
    """Whether the demo page and its logins are served (never in live mode)."""
    sandbox_url: str | None
    """Where the browser finds the sandbox's controls; demo only."""
    failpoints: str | None
    """What a fault campaign injects here (payflow/failpoints.py); never in live mode."""

    @property
    def is_live(self) -> bool:
        return self.mode == "live"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log line may hold. (Passwords in addresses are known by where they stand.)"""
        own = [self.jwt_secret] if self.jwt_secret else []
        return (*own, *(one for row in self.gateways.values() for one in (row.secret_key, *row.webhook_secrets)))

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check. Raises ConfigurationError naming the variable."""
        env = _Reader(environ)
        mode = env.text("PAYFLOW_MODE", "test")
        if mode not in ("test", "live"):
            raise ConfigurationError("PAYFLOW_MODE must be `test` or `live`.")
        data_dir = Path(env.text("PAYFLOW_DATA_DIR", ".payflow"))
        jwt_secret, jwks_url = env.secret("PAYFLOW_JWT_SECRET"), env.optional("PAYFLOW_JWKS_URL")
        if jwt_secret is None and jwks_url is None:
            raise ConfigurationError("Set PAYFLOW_JWT_SECRET (32 characters or more) or PAYFLOW_JWKS_URL.")
        if jwt_secret is not None and len(jwt_secret) < 32:
            raise ConfigurationError("PAYFLOW_JWT_SECRET must have 32 characters or more (RFC 7518, section 3.2).")
        broker_url = _required(env.secret("PAYFLOW_BROKER_URL"), "PAYFLOW_BROKER_URL")
        broker_keeps_cache = broker_url.startswith(("redis://", "rediss://"))
        settings = cls(
            database_url=env.secret("PAYFLOW_DATABASE_URL") or f"sqlite:///{data_dir / 'payflow.db'}",
            broker_url=broker_url,
            cache_url=env.secret("PAYFLOW_CACHE_URL") or (broker_url if broker_keeps_cache else None),
            public_url=env.address(
                "PAYFLOW_PUBLIC_URL", f"http://127.0.0.1:{env.integer('PAYFLOW_WEB_PORT', 8000, least=1)}"
            ),
            jwt_secret=jwt_secret,
            jwks_url=jwks_url,
            jwt_audience=env.optional("PAYFLOW_JWT_AUDIENCE"),
            jwt_issuer=env.optional("PAYFLOW_JWT_ISSUER"),
            return_url_allowlist=tuple(
                env.checked_address("PAYFLOW_RETURN_URL_ALLOWLIST", word)
                for word in env.words("PAYFLOW_RETURN_URL_ALLOWLIST")
            ),
            smtp_url=env.secret("PAYFLOW_SMTP_URL"),
            mail_from=env.text("PAYFLOW_MAIL_FROM", "payflow <no-reply@payflow.invalid>"),
            alert_to=env.mailbox("PAYFLOW_ALERT_TO"),
            alert_every_seconds=env.integer("PAYFLOW_ALERT_EVERY_SECONDS", 900, least=60),
            mode=mode,
            data_dir=data_dir,
            gateways=_gateways(env),
            order_ttl_seconds=env.integer("PAYFLOW_ORDER_TTL_SECONDS", 1_800, least=10),
            web_port=env.integer("PAYFLOW_WEB_PORT", 8000, least=1),
            max_body_bytes=env.integer("PAYFLOW_MAX_BODY_BYTES", 262_144, least=1_024),
            rate_limits=_rate_limits(env),
            trusted_proxies=env.integer("PAYFLOW_TRUSTED_PROXIES", 0),
            cors_origins=tuple(env.origin("PAYFLOW_CORS_ORIGINS", word) for word in env.words("PAYFLOW_CORS_ORIGINS")),
            gateway_log_days=env.integer("PAYFLOW_GATEWAY_LOG_DAYS", 30, least=1),
            webhook_allow_private=env.flag("PAYFLOW_WEBHOOK_ALLOW_PRIVATE"),
            demo=env.flag("PAYFLOW_DEMO"),
            sandbox_url=env.optional("PAYFLOW_SANDBOX_URL"),
            failpoints=_failpoints(env),
        )
        if settings.alert_to and not settings.smtp_url:
            raise ConfigurationError("PAYFLOW_ALERT_TO needs a mail server: set PAYFLOW_SMTP_URL.")
        if settings.is_live:
            settings._refuse_development_tools()
        return settings

    def _refuse_development_tools(self) -> None:
        if self.failpoints is not None:
            raise ConfigurationError("PAYFLOW_FAILPOINTS cannot be set in live mode: it breaks processes on purpose.")
        if self.demo:
            raise ConfigurationError("PAYFLOW_DEMO cannot be on in live mode: it hands out logins.")
        if self.webhook_allow_private:
            raise ConfigurationError(
                "PAYFLOW_WEBHOOK_ALLOW_PRIVATE cannot be on in live mode: it opens the inner network."
            )
        if self.jwt_secret is not None and self.jwt_secret.startswith("development-"):
            raise ConfigurationError("PAYFLOW_JWT_SECRET is a development secret; live mode needs one of its own.")
        for gateway in self.gateways.values():
            if gateway.secret_key.startswith(gateway.row.test_keys):
                raise ConfigurationError(
                    f"{gateway.row.secret_key_setting} is a test key; set the live key or PAYFLOW_MODE=test."
                )
            if not gateway.base_url.startswith("https://"):
                raise ConfigurationError(f"{gateway.row.base_url_setting} must be https in live mode.")


class _Reader:
    """Typed reads from an environment mapping; an empty value counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def optional(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def text(self, name: str, default: str) -> str:
        return self.optional(name) or default

    def secret(self, name: str) -> str | None:
        path = self.optional(f"{name}_FILE")
        if path is None:
            return self.optional(name)
        try:
            return Path(path).read_text(encoding="utf-8").strip() or None
        except OSError as error:
            raise ConfigurationError(f"{name}_FILE cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{name}_FILE cannot be read: it is not UTF-8 text.") from error

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in self._environ.get(name, "").split(",") if word.strip())

    def address(self, name: str, default: str) -> str:
        return self.checked_address(name, self.text(name, default)).rstrip("/")

    def checked_address(self, name: str, address: str) -> str:
        if not is_allowed_return_url(address, [address]):
            raise ConfigurationError(f"{name} must be an http(s) address such as https://shop.example/paid.")
        return address

    def origin(self, name: str, address: str) -> str:
        parts = urlsplit(self.checked_address(name, address))
        is_plain = re.fullmatch(r"[A-Za-z0-9.:/-]+", address)  # Flask-CORS takes a pattern for one
        if not is_plain or address != f"{parts.scheme}://{parts.netloc}":
            raise ConfigurationError(f"{name} lists origins such as https://shop.example: no path, no `*`.")
        return address

    def mailbox(self, name: str) -> str | None:
        address = self.optional(name)
        if address is not None and not re.fullmatch(r"[^\s@,;<>\"]+@[^\s@,;<>\"]+", address):
            raise ConfigurationError(f"{name} must be one address such as ops@example.com.")
        return address

    def flag(self, name: str) -> bool:
        return self.text(name, "0").lower() in ("1", "true", "yes", "on")

    def integer(self, name: str, default: int, *, least: int = 0) -> int:
        text = self.optional(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise ConfigurationError(f"{name} must be a whole number of at least {least}.")
        return int(text)

    def seconds(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        words = self.words(name)
        if not words:
            return default
        if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
            raise ConfigurationError(f"{name} must be a comma list of whole seconds, e.g. 5,10,60.")
        return tuple(int(word) for word in words)


def _required(value: str | None, name: str) -> str:
    if value is None:
        raise ConfigurationError(f"Set {name}.")
    return value


def _rate_limits(env: _Reader) -> Mapping[str, Rate] | None:
    try:
        return read_rates(env.text("PAYFLOW_RATE_LIMITS", ""))
    except ValueError as error:
        raise ConfigurationError(f"PAYFLOW_RATE_LIMITS: {error}.") from error


def _failpoints(env: _Reader) -> str | None:
    text = env.optional("PAYFLOW_FAILPOINTS")
    try:
        failpoints.read(text or "")
    except ValueError as error:
        raise ConfigurationError(f"PAYFLOW_FAILPOINTS: {error}.") from error
    return text


def _gateways(env: _Reader) -> dict[str, GatewaySettings]:
    known = {row.name: row for row in GATEWAYS}
    wanted = env.words("PAYFLOW_GATEWAYS")
    found: dict[str, GatewaySettings] = {}
    for name in wanted or known:
        row = known.get(name)
        if row is None:
            raise ConfigurationError(f"PAYFLOW_GATEWAYS names {name!r}; known are {', '.join(known)}.")
        secret = env.secret(row.secret_key_setting)
        if secret is None:
            if wanted:
                raise ConfigurationError(f"PAYFLOW_GATEWAYS names {name}, so set {row.secret_key_setting}.")
            continue
        base_url = env.text(row.base_url_setting, row.base_url).rstrip("/")
        if urlsplit(base_url).scheme not in ("http", "https"):
            raise ConfigurationError(f"{row.base_url_setting} must be an http(s) address.")
        found[name] = GatewaySettings(
            row=row,
            secret_key=secret,
            base_url=base_url,
            webhook_secrets=_webhook_secrets(env, row, secret),
            poll_plan=env.seconds(row.poll_plan_setting, DEFAULT_POLL_PLAN),
        )
    return found


def _webhook_secrets(env: _Reader, row: GatewayRow, secret_key: str) -> tuple[str, ...]:
    if row.webhook_secret_setting is None:
        return (secret_key,)
    value = env.secret(row.webhook_secret_setting)
    if value is None:
        raise ConfigurationError(
            f"{row.name} is on, so set {row.webhook_secret_setting}: its webhooks cannot be trusted without it."
        )
    words = tuple(word.strip() for word in value.split(",") if word.strip())
    if not words:
        raise ConfigurationError(f"{row.webhook_secret_setting} holds no secret.")
    return words

"""Configuration: read once, checked whole, every complaint names its variable, no secret shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from payflow.core.errors import ConfigurationError
from payflow.core.gateways import NAMES
from payflow.core.polling import DEFAULT_POLL_PLAN
from payflow.settings import Settings

JWT = "a-secret-for-tests-of-forty-characters-x"
LEAST = {"PAYFLOW_BROKER_URL": "redis://127.0.0.1:6379/0", "PAYFLOW_JWT_SECRET": JWT}
PAYSTACK = {"PAYSTACK_SECRET_KEY": "sk_test_one"}
LIVE = LEAST | {"PAYFLOW_MODE": "live", "PAYSTACK_SECRET_KEY": "sk_live_one"}


def read(**more: str) -> Settings:
    return Settings.from_environ(LEAST | more)


def test_least_environment_gives_the_documented_defaults() -> None:
    """A broker and a way to know callers are all it needs; no gateway is on without its secret."""
    settings = read()
    assert (settings.mode, settings.is_live, settings.demo) == ("test", False, False)
    assert settings.database_url == "sqlite:///.payflow/payflow.db"
    assert settings.public_url == "http://127.0.0.1:8000"
    assert (settings.order_ttl_seconds, settings.web_port, settings.max_body_bytes) == (1_800, 8_000, 262_144)
    assert (settings.smtp_url, settings.jwks_url, settings.sandbox_url) == (None,) * 3
    assert settings.return_url_allowlist == ()
    assert settings.gateways == {}


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("PAYFLOW_DATABASE_URL", "postgresql://db/payflow", "database_url", "postgresql://db/payflow"),
        ("PAYFLOW_BROKER_URL", "amqp://mq//", "broker_url", "amqp://mq//"),
        ("PAYFLOW_CACHE_URL", "redis://cache/2", "cache_url", "redis://cache/2"),
        ("PAYFLOW_PUBLIC_URL", "https://pay.example/", "public_url", "https://pay.example"),
        ("PAYFLOW_JWT_SECRET", "x" * 32, "jwt_secret", "x" * 32),
        ("PAYFLOW_JWKS_URL", "https://id.example/keys", "jwks_url", "https://id.example/keys"),
        ("PAYFLOW_JWT_AUDIENCE", "payflow", "jwt_audience", "payflow"),
        ("PAYFLOW_JWT_ISSUER", "https://id.example", "jwt_issuer", "https://id.example"),
        ("PAYFLOW_RETURN_URL_ALLOWLIST", "https://a.example, https://b.example/x,", "return_url_allowlist",
         ("https://a.example", "https://b.example/x")),
        ("PAYFLOW_SMTP_URL", "smtp://mail:25", "smtp_url", "smtp://mail:25"),
        ("PAYFLOW_MAIL_FROM", "Shop <a@b.example>", "mail_from", "Shop <a@b.example>"),
        ("PAYFLOW_MODE", "live", "mode", "live"),
        ("PAYFLOW_DATA_DIR", "/var/lib/payflow", "data_dir", Path("/var/lib/payflow")),
        ("PAYFLOW_ORDER_TTL_SECONDS", "10", "order_ttl_seconds", 10),
        ("PAYFLOW_GATEWAY_LOG_DAYS", "1", "gateway_log_days", 1),
        ("PAYFLOW_WEB_PORT", "8080", "web_port", 8_080),
        ("PAYFLOW_MAX_BODY_BYTES", "1024", "max_body_bytes", 1_024),
        ("PAYFLOW_WEBHOOK_ALLOW_PRIVATE", "1", "webhook_allow_private", True),
        ("PAYFLOW_DEMO", "yes", "demo", True),
        ("PAYFLOW_DEMO", "0", "demo", False),
        ("PAYFLOW_SANDBOX_URL", "http://127.0.0.1:9000", "sandbox_url", "http://127.0.0.1:9000"),
    ],
)  # fmt: skip
def test_variable_sets_its_field(variable: str, value: str, field: str, expected: object) -> None:
    """Every variable of the contract lands where it should; blanks around it do not matter."""
    assert getattr(read(**{variable: f" {value} "}), field) == expected


@pytest.mark.parametrize(
    ("broker", "cache"),
    [("redis://mq:6379/0", "redis://mq:6379/0"), ("rediss://mq", "rediss://mq"), ("amqp://mq//", None)],
)
def test_redis_broker_keeps_the_cache_too_unless_told_otherwise(broker: str, cache: str | None) -> None:
    """A message queue of another kind cannot; then there is no cache until one is named."""
    assert read(PAYFLOW_BROKER_URL=broker).cache_url == cache
    assert read(PAYFLOW_BROKER_URL=broker, PAYFLOW_CACHE_URL="redis://own").cache_url == "redis://own"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"PAYFLOW_JWT_SECRET": JWT}, "PAYFLOW_BROKER_URL"),
        ({"PAYFLOW_BROKER_URL": "redis://x"}, "PAYFLOW_JWT_SECRET"),
        (LEAST | {"PAYFLOW_JWT_SECRET": "x" * 31}, "PAYFLOW_JWT_SECRET"),
        (LEAST | {"PAYFLOW_JWT_SECRET": "   "}, "PAYFLOW_JWT_SECRET"),
        (LEAST | {"PAYFLOW_MODE": "prod"}, "PAYFLOW_MODE"),
        (LEAST | {"PAYFLOW_PUBLIC_URL": "pay.example"}, "PAYFLOW_PUBLIC_URL"),
        (LEAST | {"PAYFLOW_PUBLIC_URL": "javascript:alert(1)"}, "PAYFLOW_PUBLIC_URL"),
        (LEAST | {"PAYFLOW_RETURN_URL_ALLOWLIST": "https://a.example,b.example"}, "PAYFLOW_RETURN_URL_ALLOWLIST"),
        (LEAST | {"PAYFLOW_RETURN_URL_ALLOWLIST": "https://a.example:port"}, "PAYFLOW_RETURN_URL_ALLOWLIST"),
        (LEAST | {"PAYFLOW_ORDER_TTL_SECONDS": "9"}, "PAYFLOW_ORDER_TTL_SECONDS"),
        (LEAST | {"PAYFLOW_ORDER_TTL_SECONDS": "1e3"}, "PAYFLOW_ORDER_TTL_SECONDS"),
        (LEAST | {"PAYFLOW_ORDER_TTL_SECONDS": "-60"}, "PAYFLOW_ORDER_TTL_SECONDS"),
        (LEAST | {"PAYFLOW_ORDER_TTL_SECONDS": "١٨٠٠"}, "PAYFLOW_ORDER_TTL_SECONDS"),
        (LEAST | {"PAYFLOW_WEB_PORT": "0"}, "PAYFLOW_WEB_PORT"),
        (LEAST | {"PAYFLOW_WEB_PORT": "http"}, "PAYFLOW_WEB_PORT"),
        (LEAST | {"PAYFLOW_MAX_BODY_BYTES": "10"}, "PAYFLOW_MAX_BODY_BYTES"),
        (LEAST | PAYSTACK | {"PAYSTACK_BASE_URL": "api.paystack.co"}, "PAYSTACK_BASE_URL"),
        (LEAST | PAYSTACK | {"PAYFLOW_POLL_PLAN_PAYSTACK": "5,ten"}, "PAYFLOW_POLL_PLAN_PAYSTACK"),
        (LEAST | PAYSTACK | {"PAYFLOW_POLL_PLAN_PAYSTACK": "5,0"}, "PAYFLOW_POLL_PLAN_PAYSTACK"),
        (LEAST | {"PAYFLOW_GATEWAYS": "paypal"}, "PAYFLOW_GATEWAYS"),
        (LEAST | {"PAYFLOW_GATEWAYS": "paystack"}, "PAYSTACK_SECRET_KEY"),
        (LEAST | {"STRIPE_SECRET_KEY": "sk_test_s"}, "STRIPE_WEBHOOK_SECRET"),
        (LEAST | {"STRIPE_SECRET_KEY": "sk_test_s", "STRIPE_WEBHOOK_SECRET": " , "}, "STRIPE_WEBHOOK_SECRET"),
        (LEAST | {"FLUTTERWAVE_SECRET_KEY": "FLWSECK_TEST-1"}, "FLUTTERWAVE_WEBHOOK_HASH"),
    ],
)
def test_what_cannot_work_stops_the_start_and_names_its_variable(environ: dict[str, str], named: str) -> None:
    """One sentence that says what to set; never the secret's value."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environ(environ)
    assert named in caught.value.detail
    assert not any(value in caught.value.detail for value in environ.values() if value.startswith(("sk_", "FLW")))


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"PAYFLOW_DEMO": "1"}, "PAYFLOW_DEMO"),
        ({"PAYFLOW_WEBHOOK_ALLOW_PRIVATE": "1"}, "PAYFLOW_WEBHOOK_ALLOW_PRIVATE"),
        ({"PAYFLOW_JWT_SECRET": "development-" + "x" * 32}, "PAYFLOW_JWT_SECRET"),
        ({"PAYSTACK_SECRET_KEY": "sk_test_one"}, "PAYSTACK_SECRET_KEY"),
        ({"STRIPE_SECRET_KEY": "rk_test_one", "STRIPE_WEBHOOK_SECRET": "whsec_1"}, "STRIPE_SECRET_KEY"),
        ({"FLUTTERWAVE_SECRET_KEY": "FLWSECK_TEST-1", "FLUTTERWAVE_WEBHOOK_HASH": "h"}, "FLUTTERWAVE_SECRET_KEY"),
        ({"PAYSTACK_BASE_URL": "http://127.0.0.1:9000/paystack"}, "PAYSTACK_BASE_URL"),
    ],
)
def test_live_mode_refuses_what_is_for_development(more: dict[str, str], named: str) -> None:
    """Test keys, demo logins, shared secrets and plain HTTP never meet real money."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environ(LIVE | more)
    assert named in caught.value.detail
    assert Settings.from_environ(LIVE).is_live


def test_gateway_without_its_secret_is_off_and_routing_order_is_the_lists() -> None:
    """On: those with a secret, in the order of PAYFLOW_GATEWAYS or the house's own."""
    every = PAYSTACK | {
        "FLUTTERWAVE_SECRET_KEY": "FLWSECK_TEST-1",
        "FLUTTERWAVE_WEBHOOK_HASH": "hash",
        "STRIPE_SECRET_KEY": "sk_test_s",
        "STRIPE_WEBHOOK_SECRET": "whsec_new, whsec_old",
    }
    assert list(read(**PAYSTACK).gateways) == ["paystack"]
    assert tuple(read(**every).gateways) == NAMES
    chosen = read(**every, PAYFLOW_GATEWAYS="stripe, paystack").gateways
    assert list(chosen) == ["stripe", "paystack"]
    assert chosen["stripe"].webhook_secrets == ("whsec_new", "whsec_old"), "two are valid while one is being replaced"
    assert chosen["paystack"].webhook_secrets == ("sk_test_one",), "Paystack signs with the API key"
    assert chosen["paystack"].poll_plan == DEFAULT_POLL_PLAN


def test_poll_plan_and_base_url_are_per_gateway() -> None:
    """Seconds as a comma list; an address without its last slash."""
    one = read(**PAYSTACK, PAYFLOW_POLL_PLAN_PAYSTACK="1, 2,3", PAYSTACK_BASE_URL="http://127.0.0.1:9/paystack/")
    assert one.gateways["paystack"].poll_plan == (1, 2, 3)
    assert one.gateways["paystack"].base_url == "http://127.0.0.1:9/paystack"


@pytest.mark.parametrize(
    "variable",
    ["PAYFLOW_JWT_SECRET", "PAYFLOW_DATABASE_URL", "PAYFLOW_BROKER_URL", "PAYFLOW_CACHE_URL", "PAYFLOW_SMTP_URL",
     "PAYSTACK_SECRET_KEY"],
)  # fmt: skip
def test_secret_may_come_from_a_file(tmp_path: Path, variable: str) -> None:
    """NAME_FILE is read, without the line end, and wins over the variable itself."""
    path, value = tmp_path / "secret", "redis://from-a-file/with-enough-characters"
    path.write_text(f"{value}\n", encoding="utf-8")
    own = {"PAYFLOW_CACHE_URL": "redis://own", variable: "sk_test_overruled", f"{variable}_FILE": str(path)}
    settings = read(**own)
    held = [settings.jwt_secret, settings.database_url, settings.broker_url, settings.cache_url, settings.smtp_url]
    held += [gateway.secret_key for gateway in settings.gateways.values()]
    assert held.count(value) == 1


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00secret"])
def test_secret_file_that_cannot_be_read_names_its_variable(tmp_path: Path, content: bytes | None) -> None:
    """Missing, or no text: the start stops with the variable's name."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="PAYFLOW_JWT_SECRET_FILE"):
        read(PAYFLOW_JWT_SECRET_FILE=str(path))


def test_no_secret_shows_when_settings_are_printed() -> None:
    """Not in repr, not in str, also not those of a gateway."""
    secrets = {
        "PAYFLOW_DATABASE_URL": "postgresql://u:hunter2@db/p",
        "PAYFLOW_BROKER_URL": "redis://:hunter2@mq",
        "PAYFLOW_CACHE_URL": "redis://:hunter2@cache",
        "PAYFLOW_SMTP_URL": "smtp://u:hunter2@mail",
        "PAYFLOW_JWT_SECRET": "hunter2-" + "x" * 32,
        "PAYSTACK_SECRET_KEY": "sk_test_hunter2",
        "STRIPE_SECRET_KEY": "sk_test_hunter2",
        "STRIPE_WEBHOOK_SECRET": "whsec_hunter2",
    }
    settings = read(**secrets)
    assert "hunter2" not in repr(settings) + str(settings) + repr(settings.gateways)
    assert "paystack" in repr(settings)

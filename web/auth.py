"""Who is calling: a signed token (JWT) or a service key, turned into a Caller. What it may do is services' business.

Tokens: HS256 with the shared secret, or RS256/ES256 with a key from the JWKS address; each key goes with one algorithm,
whatever the token claims. `exp` and `sub` must be there. Service keys are looked up by their SHA-256.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import jwt
from pydantic import BaseModel, ConfigDict, ValidationError

from payflow import logs
from payflow.channels.languages import recognised
from payflow.core.cards import holds_card_number
from payflow.core.clock import Clock
from payflow.core.errors import PayflowError
from payflow.services.access import Caller, Membership
from payflow.settings import Settings
from web.text import Line

_log = logs.get(__name__)
KEY_PREFIX = "pfk_"
LEEWAY_SECONDS = 30
TOKEN_CACHE_SECONDS = 60
"""How long a verified token is believed. Keys are looked up each time, so that a revoked one stops at once."""
KEY_USE_SECONDS = 60
"""How exactly a key's last use is noted: no row is written more often than this."""
JWKS_REST_SECONDS = 30
"""How often an unknown key id may make us fetch the key set anew."""
_CACHE_SIZE = 4_096
_BY_JWKS = ("RS256", "ES256")


class Unauthenticated(PayflowError):
    """This needs a valid bearer token or service key."""

    code = "unauthenticated"


class IdentityProviderUnavailable(PayflowError):
    """The keys that tokens are checked with cannot be fetched at the moment."""

    code = "identity_provider_unavailable"


class _Workspace(BaseModel):
    model_config = ConfigDict(extra="ignore")
    name: str = ""
    role: str = "member"


class _Claims(BaseModel):
    """What a token says of its bearer."""

    model_config = ConfigDict(extra="ignore")
    sub: Line
    email: Line | Literal[""] = ""
    name: Line | Literal[""] = ""
    workspaces: dict[str, _Workspace] = {}
    scope: str = ""
    locale: object = None
    exp: int


class Authenticator:
    """Checks credentials. Safe to share between threads."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        find_key: Callable[[str, datetime], Mapping[str, Any] | None],
        note_use: Callable[[str], None],
    ) -> None:
        self._settings, self._clock = settings, clock
        self._find_key, self._note_use = find_key, note_use
        self._key_set = _KeySet(settings.jwks_url, clock) if settings.jwks_url else None
        self._seen: dict[str, tuple[Caller, datetime]] = {}
        self._lock = threading.Lock()

    def caller(self, authorization: str | None) -> Caller:
        """The caller behind an `Authorization` header. Raises Unauthenticated, IdentityProviderUnavailable."""
        scheme, _, credential = (authorization or "").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential or not credential.isascii():
            raise Unauthenticated
        fingerprint = hashlib.sha256(credential.encode()).hexdigest()
        now = self._clock.now()
        if credential.startswith(KEY_PREFIX):
            return self._by_key(fingerprint, now)
        known = self._seen.get(fingerprint)
        if known is not None and now < known[1]:
            return known[0]
        claims = self._verified(credential)
        caller, expires_at = _caller(claims), datetime.fromtimestamp(claims.exp, tz=now.tzinfo)
        believed_until = min(now + timedelta(seconds=TOKEN_CACHE_SECONDS), expires_at)
        with self._lock:
            if len(self._seen) >= _CACHE_SIZE:
                self._seen.clear()
            self._seen[fingerprint] = (caller, believed_until)
        return caller

    def _by_key(self, key_hash: str, now: datetime) -> Caller:
        found = self._find_key(key_hash, now)
        if found is None:
            raise Unauthenticated("The service key is not known or has been revoked.")
        if found["last_used_at"] is None or now - found["last_used_at"] >= timedelta(seconds=KEY_USE_SECONDS):
            self._note_use(found["id"])
        scope = found["scope"].split()
        return Caller(
            user_id=found["id"],
            name=found["name"],
            is_service=True,
            service_workspace=found["workspace_id"],
            is_operator="operator" in scope and found["workspace_id"] is None,
            is_read_only="read" in scope,
        )

    def _verified(self, token: str) -> _Claims:
        try:
            header = jwt.get_unverified_header(token)
            key, algorithm = self._key_for(header)
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.jwt_audience,
                issuer=self._settings.jwt_issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub"], "verify_aud": self._settings.jwt_audience is not None},
            )
            return _Claims.model_validate(claims)
        except jwt.PyJWKClientConnectionError as error:
            _log.error("the token keys cannot be fetched", action="auth.jwks_unavailable")
            raise IdentityProviderUnavailable from error
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("The token has expired.", code="token_expired") from error
        except (jwt.PyJWTError, ValidationError, ValueError, OverflowError) as error:
            raise Unauthenticated("The token is not valid.", code="invalid_token") from error

    def _key_for(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        """The key and the one algorithm it may be used with."""
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._settings.jwt_secret is not None:
            return self._settings.jwt_secret, "HS256"
        if algorithm in _BY_JWKS and self._key_set is not None:
            found = self._key_set.find(header.get("kid"))
            if found.algorithm_name != algorithm:
                raise Unauthenticated("The token is not valid.", code="invalid_token")
            return found.key, found.algorithm_name
        raise Unauthenticated("The token is signed in a way that is not accepted here.", code="invalid_token")


class _KeySet:
    """The signing keys of the identity provider; an unknown key id makes it look again, but not all the time."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._client = jwt.PyJWKClient(url, cache_jwk_set=True, lifespan=300, timeout=5)
        self._clock = clock
        self._rests_until: datetime | None = None

    def find(self, key_id: object) -> jwt.PyJWK:
        if not isinstance(key_id, str):
            raise Unauthenticated("The token does not name its key.", code="invalid_token")
        found = self._match(key_id, refresh=False)
        now = self._clock.now()
        if found is None and (self._rests_until is None or now >= self._rests_until):
            self._rests_until = now + timedelta(seconds=JWKS_REST_SECONDS)
            found = self._match(key_id, refresh=True)
        if found is None:
            raise Unauthenticated("The token names a key that is not known.", code="invalid_token")
        return found

    def _match(self, key_id: str, *, refresh: bool) -> jwt.PyJWK | None:
        return next((key for key in self._client.get_signing_keys(refresh) if key.key_id == key_id), None)


def _caller(claims: _Claims) -> Caller:
    return Caller(
        user_id=claims.sub,
        email=_kept(claims.email),
        name=_kept(claims.name),
        locale=recognised(claims.locale),
        workspaces={key: Membership(one.name, one.role) for key, one in claims.workspaces.items()},
        is_operator="operator" in claims.scope.split(),
    )


def _kept(text: str) -> str:
    """What a token calls its bearer, unless it is a card number: that is kept nowhere."""
    return "" if holds_card_number(text) else text

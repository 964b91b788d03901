"""Authentication by bearer tokens: each token opens one user's sessions and faces."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol

from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.ids import is_path_part

CLOCK_LEEWAY_S: Final = 30.0
"""Largest accepted difference between the issuer's clock and ours."""

CHECKS: Final[Any] = {"require": ["exp", "sub"], "verify_aud": False}
"""Expiry and subject are required; the audience is left to the issuer (RFC 7519, section 4.1)."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated origin of a request or connection."""

    user_id: str | None
    """The only user whose faces and sessions it may use; None for any user: no token is required.
    """
    expires_s: int | None = None
    """Seconds since 1970 after which its token opens no more sessions; None: never."""

    def check(self, user_id: str) -> None:
        """Raise UNAUTHORIZED for another user, without revealing whether that user exists."""
        if self.user_id not in (None, user_id):
            message = (
                "userId: the token belongs to another user; a token opens only its own user's "
                "faces and sessions"
            )
            raise LipSyncError(
                LipSyncErrorCode.UNAUTHORIZED,
                message,
                recoverable=False,
                details={"field": "userId"},
            )

    def check_time(self) -> None:
        """Raise UNAUTHORIZED for a token that expired after the connection was opened.

        Open sessions continue; new ones are refused.
        """
        if self.expires_s is not None and time.time() >= self.expires_s:
            raise _refused("has expired; connect again with a new one")


class Authenticator(Protocol):
    """Identifies the caller by its token."""

    def caller(self, token: str | None) -> Caller:
        """The owner of `token`.

        Raises UNAUTHORIZED where it is missing, unknown, forged or expired.
        """
        ...


class NoAuthentication:
    """Admits every caller: for loopback, and for `--insecure`."""

    def caller(self, token: str | None) -> Caller:
        """A caller that may use every user's faces."""
        return Caller(None)


class StaticTokens:
    """A list of tokens, each for one user.

    Only hashes are stored, so that the time of a look-up reveals nothing about a token.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        if not all(map(is_path_part, users.values())):
            # The message omits the user: where a token was split wrongly, it is a part of it.
            raise ConfigError(
                "auth_tokens: the user of a token is not an id, 1 to 128 of A-Z a-z 0-9 . _ -; "
                "write TOKEN=USER"
            )
        self._users = {sha256(token.encode()).digest(): user for token, user in users.items()}

    def caller(self, token: str | None) -> Caller:
        """The token's user."""
        # Header bytes that are not UTF-8 arrive as surrogates; no known token contains one.
        if token is None:
            raise _refused("is missing")
        user = self._users.get(sha256(token.encode(errors="surrogatepass")).digest())
        if user is None:
            raise _refused("is not known")
        return Caller(user)


class JwtTokens:
    """Signed tokens (RFC 7519) whose `sub` is the user's id; `exp` is required."""

    def __init__(self, key: str, algorithm: str) -> None:
        """`key` is the shared secret for HS256, the issuer's public key in PEM for RS256."""
        self._key = key
        self._algorithm = algorithm
        self._try_key()

    def _try_key(self) -> None:
        """Raise ConfigError at the start for a key that cannot verify any token."""
        import jwt

        try:
            jwt.decode(_forged(self._algorithm), self._key, algorithms=[self._algorithm])
        except jwt.InvalidSignatureError:
            return
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
            # PyJWT raises the last two for private keys.
            message = "HS256 takes a shared secret, RS256 the issuer's public key in PEM"
            raise ConfigError(
                f"auth_jwt_key cannot check {self._algorithm} tokens: {message}; see "
                "auth_jwt_algorithm"
            ) from None

    def caller(self, token: str | None) -> Caller:
        """The user named by the claim `sub`."""
        if token is None:
            raise _refused("is missing")
        import jwt  # imports a cryptography library, which only signed tokens need

        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                leeway=CLOCK_LEEWAY_S,
                options=CHECKS,
            )
        except jwt.ExpiredSignatureError:
            raise _refused("has expired; fetch a new one") from None
        except (jwt.InvalidTokenError, UnicodeEncodeError):
            raise _refused(f"is not a valid {self._algorithm} token with `sub` and `exp`") from None
        user = claims["sub"]
        if not isinstance(user, str) or not is_path_part(user):
            raise _refused("names no user id in `sub`")
        return Caller(user, int(claims["exp"]) + int(CLOCK_LEEWAY_S))


class FirstMatch:
    """Several kinds of tokens: the first authenticator that accepts a token decides."""

    def __init__(self, *authenticators: Authenticator) -> None:
        self._authenticators = authenticators

    def caller(self, token: str | None) -> Caller:
        """The first match; raises the last authenticator's error where there is none."""
        for authenticator in self._authenticators[:-1]:
            try:
                return authenticator.caller(token)
            except LipSyncError:
                continue
        return self._authenticators[-1].caller(token)


def authenticator_of(config: ServiceConfig) -> Authenticator:
    """The configured authenticator.

    Raises `ConfigError` for an invalid user id, and for a key that cannot verify any token.
    """
    kinds: list[Authenticator] = []
    if config.auth_tokens:
        kinds.append(StaticTokens(config.auth_tokens))
    if config.auth_jwt_key:
        kinds.append(JwtTokens(config.auth_jwt_key, config.auth_jwt_algorithm))
    return FirstMatch(*kinds) if kinds else NoAuthentication()


def bearer_token(authorization: str | None, query_token: str | None) -> str | None:
    """The token of an `Authorization: Bearer` header, else that of the query.

    Browsers cannot send headers with a WebSocket request.
    """
    kind, _, token = (authorization or "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else query_token


def _forged(algorithm: str) -> str:
    """A token with an invalid signature."""
    header, claims = (
        urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": algorithm}, {})
    )
    return f"{header}.{claims}.AAAA"


def _refused(what: str) -> LipSyncError:
    message = (
        f"the token {what}; send `Authorization: Bearer TOKEN`, or `?access_token=TOKEN` where a "
        "browser cannot"
    )
    return LipSyncError(
        LipSyncErrorCode.UNAUTHORIZED,
        message,
        recoverable=False,
        details={"field": "authorization"},
    )

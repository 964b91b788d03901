"""Who may speak with whose face: bearer tokens that each open one user's sessions and faces."""

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
"""By how much the issuer's clock may differ from ours."""

CHECKS: Final[Any] = {"require": ["exp", "sub"], "verify_aud": False}
"""Whom a token was made for is the issuer's business; whose it is and until when is ours."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever opened a connection."""

    user_id: str | None
    """The only user whose faces and sessions are open to it; None where nobody is asked for a
    token.
    """
    expires_s: int | None = None
    """Seconds since 1970 at which its token ceases to open sessions; None: never."""

    def check(self, user_id: str) -> None:
        """Raises UNAUTHORIZED for another user, in words that do not say whether that user
        exists.
        """
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
        """Raises UNAUTHORIZED for a token that expired since the connection was opened: what it
        opened goes on, nothing more is opened.
        """
        if self.expires_s is not None and time.time() >= self.expires_s:
            raise _refused("has expired; connect again with a new one")


class Authenticator(Protocol):
    """Turns what a client presented into who it is."""

    def caller(self, token: str | None) -> Caller:
        """Raises UNAUTHORIZED for a missing, unknown, forged or expired token."""
        ...


class OpenToAll:
    """For loopback, and where `--insecure` was said."""

    def caller(self, token: str | None) -> Caller:
        """Nobody is asked."""
        return Caller(None)


class StaticTokens:
    """A list of tokens, each for one user. Only their hashes are kept, so that no look-up tells
    them by its time.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        if not all(
            map(is_path_part, users.values())
        ):  # not named: where a token was cut wrongly, it is a part of it
            raise ConfigError(
                "auth_tokens: the user of a token is not an id, 1 to 128 of A-Z a-z 0-9 . _ -; "
                "write TOKEN=USER"
            )
        self._users = {sha256(token.encode()).digest(): user for token, user in users.items()}

    def caller(self, token: str | None) -> Caller:
        """The token's user."""
        # Bytes of a header that are no UTF-8 come as surrogates, which no known token has.
        user = (
            None
            if token is None
            else self._users.get(sha256(token.encode(errors="surrogatepass")).digest())
        )
        if user is None:
            raise _refused("is missing" if token is None else "is not known")
        return Caller(user)


class JwtTokens:
    """Signed tokens (RFC 7519) whose `sub` is the user's id; `exp` is required."""

    def __init__(self, key: str, algorithm: str) -> None:
        """`key` is the shared secret for HS256, the issuer's public key in PEM for RS256."""
        self._key = key
        self._algorithm = algorithm
        self._try_key()

    def _try_key(self) -> None:
        """Refuse a key that cannot check any token, rather than every token."""
        import jwt

        try:
            jwt.decode(_forged(self._algorithm), self._key, algorithms=[self._algorithm])
        except jwt.InvalidSignatureError:
            return
        except (
            jwt.PyJWTError,
            ValueError,
            TypeError,
            AttributeError,
        ):  # the last two for private keys
            message = "HS256 takes a shared secret, RS256 the issuer's public key in PEM"
            raise ConfigError(
                f"auth_jwt_key cannot check {self._algorithm} tokens: {message}; see "
                "auth_jwt_algorithm"
            ) from None

    def caller(self, token: str | None) -> Caller:
        """The user in `sub`."""
        if token is None:
            raise _refused("is missing")
        # takes a cryptography library along, which a service without signed tokens does without
        import jwt

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


class EitherOf:
    """Several kinds of token side by side: the first that knows it decides."""

    def __init__(self, *authenticators: Authenticator) -> None:
        self._authenticators = authenticators

    def caller(self, token: str | None) -> Caller:
        """Raises what the last one raised."""
        for authenticator in self._authenticators[:-1]:
            try:
                return authenticator.caller(token)
            except LipSyncError:
                continue
        return self._authenticators[-1].caller(token)


def authenticator_of(config: ServiceConfig) -> Authenticator:
    """What the configuration asks for; raises `ConfigError` for users that cannot be and a key that
    can check nothing.
    """
    kinds: list[Authenticator] = []
    if config.auth_tokens:
        kinds.append(StaticTokens(config.auth_tokens))
    if config.auth_jwt_key:
        kinds.append(JwtTokens(config.auth_jwt_key, config.auth_jwt_algorithm))
    return EitherOf(*kinds) if kinds else OpenToAll()


def bearer_token(authorization: str | None, query_token: str | None) -> str | None:
    """The token of an `Authorization: Bearer` header, or of the query for browsers, whose
    WebSockets send no headers.
    """
    kind, _, token = (authorization or "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else query_token


def _forged(algorithm: str) -> str:
    """A token that nobody signed."""
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

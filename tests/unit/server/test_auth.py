"""A token opens its own user's faces and sessions, and nothing opens without one."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.server.auth import (
    Caller,
    FirstMatch,
    JwtTokens,
    NoAuthentication,
    StaticTokens,
    authenticator_of,
    bearer_token,
)

SECRET = "a secret of at least thirty-two bytes"


def signed(key: Any = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    claims = {"sub": "ann", "exp": time.time() + 86_400} | changes
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None}, key, algorithm
    )


def refused(authenticator: Any, token: str | None) -> str:
    with pytest.raises(LipSyncError) as caught:
        authenticator.caller(token)
    assert caught.value.code is LipSyncErrorCode.UNAUTHORIZED
    assert caught.value.details == {"field": "authorization"}
    return caught.value.message


def test_a_listed_token_is_its_users_and_no_other_is_anybodys() -> None:
    tokens = StaticTokens({"alpha": "ann", "beta": "bob"})
    assert tokens.caller("alpha").user_id == "ann"
    assert "missing" in refused(tokens, None)
    assert "gamma" not in refused(tokens, "gamma")
    assert "not known" in refused(tokens, "\udcff")


def test_a_signed_token_is_that_of_its_subject() -> None:
    assert JwtTokens(SECRET, "HS256").caller(signed()).user_id == "ann"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (signed(exp=time.time() - 3600), "expired"),
        (signed(exp=None), "valid"),
        (signed(sub=None), "valid"),
        (signed(sub="../ann"), "sub"),
        (signed(key="another secret of thirty-two bytes or more"), "valid"),
        (jwt.encode({"sub": "ann", "exp": time.time() + 86_400}, "", "none"), "valid"),
        ("not.a.token", "valid"),
        ("\udcff", "valid"),
        (None, "missing"),
    ],
    ids=[
        "expired",
        "endless",
        "nobody's",
        "a path",
        "forged",
        "unsigned",
        "nonsense",
        "no text",
        "none",
    ],
)
def test_any_other_token_is_refused_and_says_why(token: str | None, said: str) -> None:
    assert said in refused(JwtTokens(SECRET, "HS256"), token)


@pytest.fixture(scope="module")
def issuer() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(private: Any) -> str:
    return (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def private_pem(private: Any) -> str:
    encryption = serialization.NoEncryption()
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    ).decode()


def test_an_issuers_public_key_checks_its_tokens_and_signs_none(issuer: rsa.RSAPrivateKey) -> None:
    tokens = JwtTokens(public_pem(issuer), "RS256")
    assert tokens.caller(signed(issuer, "RS256")).user_id == "ann"
    refused(tokens, signed())


@pytest.mark.parametrize(
    "kind", ["a public key for HS256", "words for RS256", "a private key", "a key of another kind"]
)
def test_a_key_that_can_check_no_token_is_refused_at_once_and_not_repeated(
    issuer: rsa.RSAPrivateKey, kind: str
) -> None:
    key, algorithm = {
        "a public key for HS256": (public_pem(issuer), "HS256"),
        "words for RS256": (SECRET, "RS256"),
        "a private key": (private_pem(issuer), "RS256"),
        "a key of another kind": (public_pem(ec.generate_private_key(ec.SECP256R1())), "RS256"),
    }[kind]
    with pytest.raises(
        ConfigError, match=f"auth_jwt_key cannot check {algorithm} tokens: HS256 takes"
    ) as caught:
        authenticator_of(ServiceConfig(auth_jwt_key=key, auth_jwt_algorithm=algorithm))
    assert key not in str(caught.value)


def test_a_token_for_a_user_that_cannot_be_is_refused_and_not_repeated() -> None:
    with pytest.raises(
        ConfigError, match="auth_tokens: the user of a token is not an id"
    ) as caught:
        authenticator_of(ServiceConfig(auth_tokens={"alpha": "../secret"}))
    assert "secret" not in str(caught.value) and "alpha" not in str(caught.value)


def test_a_token_opens_nothing_more_once_it_has_expired() -> None:
    caller = JwtTokens(SECRET, "HS256").caller(signed(exp=time.time() + 60.0))
    caller.check_time()
    assert caller.expires_s is not None
    with pytest.raises(LipSyncError, match="expired"):
        replace(caller, expires_s=caller.expires_s - 91).check_time()
    StaticTokens({"alpha": "ann"}).caller("alpha").check_time()


def test_both_kinds_may_stand_side_by_side() -> None:
    both = FirstMatch(StaticTokens({"alpha": "bob"}), JwtTokens(SECRET, "HS256"))
    assert both.caller("alpha").user_id == "bob"
    assert both.caller(signed()).user_id == "ann"
    refused(both, "gamma")


def test_a_caller_may_not_speak_for_another_user() -> None:
    Caller("ann").check("ann")
    NoAuthentication().caller(None).check("anybody")
    with pytest.raises(LipSyncError, match="userId"):
        Caller("ann").check("bob")


@pytest.mark.parametrize(
    ("header", "query", "token"),
    [
        ("Bearer abc", None, "abc"),
        ("bearer abc", "q", "abc"),
        (None, "q", "q"),
        ("Basic abc", None, None),
        ("Bearer ", "q", "q"),
    ],
)
def test_the_token_comes_from_the_header_or_for_browsers_from_the_query(
    header: str | None, query: str | None, token: str | None
) -> None:
    assert bearer_token(header, query) == token

"""Who may use the pages where others than this computer can reach them: names and passwords in `DERMLENS_LOGIN`.

    DERMLENS_LOGIN=anna:her-password,ben:his-password python -m dashboard --host 0.0.0.0

`DERMLENS_LOGIN=open` lets everybody in who can reach the address: for a page behind a login of another program.
"""

import hmac
import ipaddress
import os

from core.errors import ServerError

VARIABLE, OPEN = "DERMLENS_LOGIN", "open"


def logins() -> list[tuple[str, str]] | None:
    """Names and passwords; None where there is no login.

    Raises:
        ServerError: the variable holds something else.
    """
    value = os.environ.get(VARIABLE, "").strip()
    if value in ("", OPEN):
        return None
    pairs = [pair.partition(":") for pair in value.split(",")]
    if not all(name.strip() and password for name, _, password in pairs):
        raise ServerError(  # what it holds is a password, or was meant to be one
            f"{VARIABLE} holds name:password, several separated by commas, or the word {OPEN}. Received: something "
            "else. Correct it; a password has no comma."
        )
    return [(name.strip(), password) for name, _, password in pairs]


def require_login(host: str) -> None:
    """Refuse to listen where others can reach the page while nobody has to say who they are.

    Raises:
        ServerError: there is no login, and the address is not this computer's own.
    """
    if logins() is None and os.environ.get(VARIABLE, "").strip() != OPEN and not _is_own(host):
        raise ServerError(
            f"A page that others can reach needs a login. Received: the address {host} without one. "
            f"Set {VARIABLE}=name:password, or {VARIABLE}={OPEN} where another program asks who it is."
        )


def may_enter(name: str, password: str) -> bool:
    """Whether somebody has a login; takes as long for a wrong name as for a wrong password."""
    given = f"{name}:{password}".encode()
    matches = [hmac.compare_digest(given, f"{known}:{secret}".encode()) for known, secret in logins() or []]
    return any(matches)


def _is_own(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""What the authentication scripts share, and the one of server accounts.

A script reads `<AUTHN><USERNAME/><PASSWORD/><SECRET/></AUTHN>` and says why not on stderr. Source: OpenNebula 7.4.0
src/authm_mad/remotes/.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from standin.ciphers import CipherError, open_server_token

REFUSED: Final = 255


@dataclass(frozen=True)
class Question:
    """Who says to be whom: the stored password and the secret that was shown."""

    user: str
    password: str
    secret: str

    @classmethod
    def of(cls, xml: str) -> Question | None:
        """None, after saying so, for a text that is no question."""
        try:
            root = ElementTree.fromstring(xml)
        except ElementTree.ParseError:
            print("Invalid XML input", file=sys.stderr)
            return None
        return cls(root.findtext("USERNAME") or "", root.findtext("PASSWORD") or "", root.findtext("SECRET") or "")


def server_cipher(xml: str) -> int:
    """The exit code for a token: its first word must be the account, its last the time until which it counts."""
    question = Question.of(xml)
    if question is None:
        return REFUSED
    try:
        words = open_server_token(question.password, question.secret).split(":")
    except CipherError as error:
        print(error, file=sys.stderr)
        return REFUSED
    if words[0] != question.user:
        print("User name missmatch", file=sys.stderr)
        return REFUSED
    expires = int(words[-1]) if words[-1].isdigit() else 0
    if time.time() >= expires:
        print("login token expired", file=sys.stderr)
        return REFUSED
    return 0

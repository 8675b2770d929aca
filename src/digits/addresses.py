"""Addresses: how one may be shown, and whether a port of this machine can be served on.

python -m digits.addresses PORT --of serve      for the Makefile, before what takes longer
"""

import argparse
import re
import socket

HIGHEST = 65_535
DATABASES = ("postgresql", "mysql", "mssql")


def without_password(uri: str) -> str:
    """An address as it may be shown.

    In a database's all before the last @ may be the password, in a file's path an @ is none.
    """
    user = ".*" if uri.startswith(DATABASES) else "[^/]*"
    return re.sub("([?&](?:ssl)?password=)[^&]*", r"\1...", re.sub(f"://{user}@", "://", uri))


def expect_free(port: str, *, target: str) -> int:
    """The port that a person gave for `make TARGET`; ValueError for none, or one that is taken."""
    if not port.isascii() or not port.isdecimal() or not 0 < int(port) <= HIGHEST:
        raise ValueError(f"PORT must be a number in 1..{HIGHEST}, got {port!r}")
    number = int(port)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", number)) == 0:
            other = number + 1 if number < HIGHEST else number - 1
            raise ValueError(f"port {port} is taken already; try make {target} PORT={other}")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("port")
    parser.add_argument("--of", default="serve", help="the target of the Makefile that wants it")
    asked = parser.parse_args()
    try:
        expect_free(asked.port, target=asked.of)
    except ValueError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()

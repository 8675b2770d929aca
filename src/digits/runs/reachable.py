"""Whether a tracking store answers, asked once and within seconds.

MLflow's own client tries a server for minutes before it gives up, and a database for 100 s.
"""

import http.client
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT_S = 5
LOCKED_S = 30  # for a database that is a file
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def why_silent(uri: str) -> str | None:
    """Why the store at a tracking URI cannot be used, in a few words; None when it answers."""
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        return _why_server_silent(uri)
    if scheme.partition("+")[0] in DATABASES:
        return _why_database_silent(uri)
    return None  # a scheme of MLflow's plug-ins, which know their own ways


def _why_server_silent(uri: str) -> str | None:
    parts = urlsplit(uri)
    # Any answer will do, also one that asks for the password left out here.
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        # Which certificates to trust is for MLflow's client to decide.
        return None if isinstance(reason, ssl.SSLError) else str(reason) or type(reason).__name__
    return None


def _why_database_silent(uri: str) -> str | None:
    import sqlalchemy

    try:
        url = sqlalchemy.make_url(uri)
        if url.get_backend_name() == "sqlite" and url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        # Another process may just be making its tables, which takes seconds on a busy machine.
        patience = {"timeout": LOCKED_S} if url.get_backend_name() == "sqlite" else {}
        engine = sqlalchemy.create_engine(url, connect_args=patience)
        try:
            sqlalchemy.inspect(engine).get_table_names()
        finally:
            engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, OSError) as error:
        return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    return None

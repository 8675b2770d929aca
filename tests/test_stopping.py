"""A service that is asked to stop answers what it has begun to receive."""

import http.client
import json
import time
from pathlib import Path

from serving_fixtures import Packaged, serve

NUM = 12  # requests in flight
FRAME = 784  # bytes


def test_no_request_in_flight_is_dropped(
    packaged: Packaged, bento_python: Path, tmp_path: Path
) -> None:
    home, bento = packaged.home, str(packaged.bento)
    with serve(bento_python, bento, cwd=tmp_path, home=home) as running:
        connections = []
        for _ in range(NUM):
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
            connection.putrequest("POST", "/classify")
            connection.putheader("Content-Type", "application/octet-stream")
            connection.putheader("Content-Length", str(FRAME))
            connection.endheaders()
            connection.send(bytes(FRAME // 2))
            connections.append(connection)
        time.sleep(0.5)  # until the workers have begun to read them
        running.process.terminate()
        time.sleep(0.5)
        for connection in connections:
            connection.send(bytes(FRAME - FRAME // 2))
        for connection in connections:
            answer = connection.getresponse()
            assert answer.status == 200
            assert len(json.loads(answer.read())["digits"]) == 1
            connection.close()

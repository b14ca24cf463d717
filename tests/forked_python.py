"""`python -I -S forked_python.py SOCKET [-m MODULE | FILE] ARGUMENTS`: Python in a fork of `fork_server.py`'s process.

Folder, environment, arguments, input and outputs are those of this process, and so is the exit status.
"""

import json
import os
import socket
import sys


def main() -> int:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[1])
    request = {"arguments": sys.argv[2:], "folder": os.getcwd(), "environment": {**os.environ}}  # noqa: PTH109
    socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
    answer = connection.recv(16)
    return int(answer) if answer else 1


if __name__ == "__main__":
    sys.exit(main())

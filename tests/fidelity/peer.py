"""What the scripts beside this one share: running a genuine server, asking it, and telling what differs."""

import argparse
import contextlib
import itertools
import socket
import struct
import subprocess
import sys
import tempfile
import time


def address(text):
    """HOST:PORT, as an argument."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def arguments(doc):
    """A reader of arguments that shows the script's own words as its help."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as it:
        return it.getsockname()[1]


@contextlib.contextmanager
def running(command, port, environment=None):
    """Runs a server of this loopback port, from when it listens to the end of the `with`."""
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            if not listens(server, port):
                log.seek(0)
                sys.exit(f"{command[0]} does not listen:\n{log.read().decode(errors='replace')}")
            yield
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def listens(server, port):
    """Waits until a connection is taken; false when the server ends before, or takes over ten seconds."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            if server.poll() is not None:
                return False
            time.sleep(0.05)
    return False


QUIET = 0.8  # seconds without a byte until a connection counts as left open


def exchange(address, *segments):
    """All that comes back, and how the connection ends: closed, reset or open."""
    with socket.create_connection(address, timeout=10) as connection:
        answer, end = b"", "closed"
        try:
            for segment in segments:
                connection.sendall(segment)
                if len(segments) > 1:
                    time.sleep(0.3)
            connection.settimeout(QUIET)
            while received := connection.recv(1 << 18):
                answer += received
        except (ConnectionResetError, BrokenPipeError):
            end = "reset"
        except TimeoutError:
            end = "open"
        # Leave no half-closed connections behind on the genuine side.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return answer, end


def differences(server, theirs, ours):
    """A text for each step of a conversation in which the two sides part."""
    steps = enumerate(itertools.zip_longest(theirs, ours))
    return [f"step {at}\n    {server}: {one}\n    ours: {other}" for at, (one, other) in steps if one != other]


def verdict(server, found, expected, races=()):
    """Prints what differs, and returns the exit status.

    `found` has a list of texts for each probe, empty where nothing differs; `expected` has the reason
    why a probe may differ. A difference that no longer shows is a failure too, but for `races`, which the
    genuine server decides one way or the other.
    """
    unexpected = 0
    for probe in [*found, *(it for it in expected if it not in found)]:
        texts, reason = found.get(probe), expected.get(probe)
        if texts and reason:
            print(f"expected: {probe}: {reason}: {texts[-1].splitlines()[0]}")
        elif texts or (reason and probe not in races):
            unexpected += 1
            print(f"DIFFERS: {probe}: " + "\n  ".join(texts) if texts
                  else f"DIFFERS NO MORE: {probe}: strike it out ({reason})")
    print(f"{server}: {len(found)} probes, {len(expected)} expected differences, {unexpected} unexpected")
    return 1 if unexpected else 0

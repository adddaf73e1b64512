#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An instance of the provider `fake`: called with IMAGE ADDRESS ID, serves HTTP there.

What it does is written in the image: either a plain JSON file, or the environment in the manifest
of a real one (abi/image.h). Keys: PORT, GREETING, BOOT_SECONDS (before it listens), EXIT (status to
end with after its boot), STATUS (of every answer)."""
import http.server
import json
import signal
import struct
import sys
import threading
import time


def settings(path):
    data = open(path, "rb").read()
    if data[:8] != b"SKERRYIM":
        return json.loads(data)
    (_, _, _, _, manifest, _, manifest_bytes, argc, envc) = struct.unpack_from("<8sIIQQQIII", data)
    words = data[manifest:manifest + manifest_bytes].split(b"\0")[2 + argc:2 + argc + envc]
    return dict(w.decode().split("=", 1) for w in words)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    greeting, status, identity = b"", 200, ""

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.greeting)))
        self.send_header("X-Instance", self.identity)
        self.end_headers()
        self.wfile.write(self.greeting)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    image, address, identity = sys.argv[1:4]
    s = settings(image)
    Handler.greeting = s.get("GREETING", "hello").encode()
    Handler.status = int(s.get("STATUS", "200"))
    Handler.identity = identity
    print(f"booting {identity}", flush=True)
    time.sleep(float(s.get("BOOT_SECONDS", "0")))
    if "EXIT" in s:
        print("cannot go on: EXIT is set", flush=True)
        sys.exit(int(s["EXIT"]))
    server = Server((address, int(s.get("PORT", "8080"))), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"serving on {address}", flush=True)
    server.serve_forever()
    print("stopped", flush=True)


main()

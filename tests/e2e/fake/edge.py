# SPDX-License-Identifier: Apache-2.0
"""A stand-in for skerry-edge in tests of the control plane: it follows the edge table, checks every
instance, reports as docs/protocols.md says, and leads HTTP GETs to healthy serving instances."""
import http.client
import http.server
import json
import socket
import threading
import time


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.unix_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.unix_path)


class Edge:
    def __init__(self, control, pop, region, address, port):
        self.control, self.pop, self.region = control, pop, region
        self.lock = threading.Lock()
        self.table = {"version": 0, "services": [], "pops": []}
        self.healthy, self.in_flight, self.requests = {}, {}, 0
        self.stop = threading.Event()
        self.news = threading.Event()
        self.seen_states = []  # (time, id, state) in the order of the tables
        edge = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                status, body = edge.fetch(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.server = Server((address, port), Handler)
        self.threads = [threading.Thread(target=f, daemon=True) for f in
                        (self.watch, self.check, self.report, self.server.serve_forever)]
        for t in self.threads:
            t.start()

    def close(self):
        self.stop.set()
        self.news.set()
        self.server.shutdown()
        self.server.server_close()

    def instances(self):
        return [i for s in self.table["services"] for i in s["instances"]]

    # what the controller says

    def watch(self):
        while not self.stop.is_set():
            try:
                c = UnixConnection(self.control, 12)
                c.request("GET", f"/v1/pops/{self.pop}/watch")
                answer = c.getresponse()
                for line in answer:
                    table = json.loads(line)
                    if not table:
                        continue
                    with self.lock:
                        self.table = table
                        now = time.monotonic()
                        self.seen_states += [(now, i["id"], i["state"]) for i in self.instances()]
                    self.news.set()
                    if self.stop.is_set():
                        return
            except (OSError, ValueError, http.client.HTTPException):
                pass
            self.stop.wait(0.1)

    # what we see

    def check(self):
        while not self.stop.wait(0.05):
            with self.lock:
                instances = [(i["id"], i["address"], i["port"]) for i in self.instances()]
            for identity, address, port in instances:
                try:
                    socket.create_connection((address, port), 0.5).close()
                    ok = True
                except OSError:
                    ok = False
                if self.healthy.get(identity) != ok:
                    self.healthy[identity] = ok
                    self.news.set()

    def report(self):
        while not self.stop.is_set():
            self.news.wait(0.5)
            self.news.clear()
            with self.lock:
                services = [{"app": s["app"], "announced": self.can_serve(s), "instances": [
                    {"id": i["id"], "healthy": self.healthy.get(i["id"], False),
                     "in_flight": self.in_flight.get(i["id"], 0)} for i in s["instances"]]}
                    for s in self.table["services"]]
                body = {"version": self.table["version"], "region": self.region,
                        "backbone": f"10.90.0.1:{len(self.pop)}", "services": services,
                        "rtt_ms": {}}
            try:
                c = UnixConnection(self.control, 3)
                c.request("POST", f"/v1/pops/{self.pop}/report", json.dumps(body))
                c.getresponse().read()
                c.close()
            except (OSError, http.client.HTTPException):
                pass

    def can_serve(self, service):
        return any(i["state"] == "serving" and self.healthy.get(i["id"])
                   for i in service["instances"])

    # what users get

    def pick(self, tried):
        with self.lock:
            able = [i for i in self.instances() if i["state"] == "serving"
                    and self.healthy.get(i["id"]) and i["id"] not in tried]
            if not able:
                return None
            i = min(able, key=lambda i: (self.in_flight.get(i["id"], 0), i["id"]))
            self.in_flight[i["id"]] = self.in_flight.get(i["id"], 0) + 1
            return i

    def fetch(self, path):
        tried = set()
        while (i := self.pick(tried)) is not None:
            tried.add(i["id"])
            try:
                c = http.client.HTTPConnection(i["address"], i["port"], timeout=5)
                c.request("GET", path)
                answer = c.getresponse()
                body = answer.read()
                c.close()
                return answer.status, body
            except (OSError, http.client.HTTPException):
                continue  # a GET may be tried elsewhere
            finally:
                with self.lock:
                    self.in_flight[i["id"]] -= 1
                self.news.set()
        return 503, b"no instance"

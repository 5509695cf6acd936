"""A webhook receiver: keeps what is posted, and answers as the file MODE says.

    notify_receiver.py PORT_FILE MODE OUT

MODE holds "200", another status, or "slow SECONDS".  OUT gets one JSON line for each request:
{"status", "type", "length", "body", "begun", "ended"}.
"""
import http.server
import json
import sys
import threading
import time

port_file, mode_file, out_file = sys.argv[1:]
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        begun = time.time()
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        with open(mode_file, encoding="utf-8") as file:
            mode = file.read().split()
        status = 200
        if mode[0] == "slow":
            time.sleep(float(mode[1]))
        else:
            status = int(mode[0])
        with lock, open(out_file, "a", encoding="utf-8") as file:
            file.write(json.dumps({"status": status, "type": self.headers.get("Content-Type"), "length": length,
                                   "body": json.loads(body), "begun": begun, "ended": time.time()}) + "\n")
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(port_file, "w", encoding="utf-8") as file:
    file.write(str(server.server_port))
server.serve_forever()

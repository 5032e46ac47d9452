#!/usr/bin/env python3
"""Writes log_record.golden: what Python's own HTTPHandler sends of one record.

Run it with Python 3.11 in this folder:  python3 log_record_golden.py > log_record.golden
Later versions add attributes, and earlier ones count msecs otherwise.
"""

import http.server
import logging
import logging.handlers
import threading

LINE = '{"dst_port": 21, "logdata": {"PASSWORD": "100% \\u00e9&=+~/"}, "x": "\u00e9 \u20ac"}'


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
thread = threading.Thread(target=server.handle_request)
thread.start()
record = logging.LogRecord("opencanary-1", logging.WARNING, "opencanary/logger.py", 0, LINE, (), None, "log")
record.created = 1795296991.007389
record.msecs = 7.0
record.relativeCreated = 250.0
record.process = record.thread = 4711
# The file's and the console's handler come before it and leave this behind.
logging.Formatter().format(record)
handler = logging.handlers.HTTPHandler("127.0.0.1:%d" % server.server_port, "/", "POST")
handler.emit(record)
thread.join()

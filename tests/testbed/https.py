#!/usr/bin/python3 -B
"""Serves a directory by https on 127.0.0.1: https.py DIRECTORY CERTIFICATE KEY. Prints its port."""
import functools
import http.server
import ssl
import sys

directory, certificate, key = sys.argv[1:]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()

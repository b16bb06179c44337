"""What aioamqp's tests use of pyrabbit2, which Debian does not have."""

import base64
import json
import urllib.parse
import urllib.request


class Client:
    def __init__(self, host, user, password, timeout=None):
        self.root = "http://%s/api/" % host
        self.timeout = timeout or 20
        self.authorization = "Basic " + base64.b64encode(
            ("%s:%s" % (user, password)).encode()).decode()

    def _ask(self, method, *path, **body):
        where = self.root + "/".join(urllib.parse.quote(p, safe="") for p in path)
        request = urllib.request.Request(where, method=method, headers={
            "Authorization": self.authorization, "Content-Type": "application/json"})
        if body or method == "PUT":
            request.data = json.dumps(body).encode()
        with urllib.request.urlopen(request, timeout=self.timeout) as answer:
            return json.loads(answer.read() or b"null")

    def create_vhost(self, vname):
        self._ask("PUT", "vhosts", vname)

    def delete_vhost(self, vname):
        self._ask("DELETE", "vhosts", vname)

    def set_vhost_permissions(self, vname, username, config, rd, wr):
        self._ask("PUT", "permissions", vname, username, configure=config, read=rd, write=wr)

    def get_queues(self, vhost):
        return self._ask("GET", "queues", vhost)

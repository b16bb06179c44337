"""The management HTTP API, as a client sees it."""

import base64
import http.client
import json
import urllib.parse

from harness.waits import SOON, wait_until


def quote(text):
    return urllib.parse.quote(text, safe="")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "%s %s" % (self.status, self.body[:400])


class Api:
    """Requests on behalf of a user, each on a connection of its own."""

    def __init__(self, port, user="guest", password="guest", context=None):
        self.port, self.user, self.password, self.context = port, user, password, context

    def as_user(self, user, password):
        return Api(self.port, user, password, self.context)

    def call(self, method, path, body=None, headers=()):
        if self.context:
            conn = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=SOON,
                                               context=self.context)
        else:
            conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON)
        headers = dict({"Content-Type": "application/json"}, **dict(headers))
        if self.user is not None:
            token = base64.b64encode(("%s:%s" % (self.user, self.password)).encode()).decode()
            headers["Authorization"] = "Basic " + token
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        try:
            conn.request(method, path, body, headers)
            got = conn.getresponse()
            return Answer(got.status, got.headers, got.read().decode())
        finally:
            conn.close()

    def get(self, path):
        return self.call("GET", path)

    def put(self, path, body=None):
        return self.call("PUT", path, body)

    def post(self, path, body=None):
        return self.call("POST", path, body)

    def delete(self, path, **headers):
        return self.call("DELETE", path, headers=headers)

    def wait(self, path, **figures):
        """Until the object has these: figures arrive a little later than deeds."""
        def holds():
            got = self.get(path)
            return got.status == 200 and all(got.json.get(k) == v for k, v in figures.items())
        wait_until(holds, "%s %s" % (path, figures))

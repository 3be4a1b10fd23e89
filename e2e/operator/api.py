"""The API server over HTTPS with a client certificate, as JSON. Nothing but the standard library."""

import base64
import http.client
import json
import os
import re
import ssl
import tempfile
import time
import urllib.parse


class ApiError(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class Api:
    def __init__(self, kubeconfig):
        text = open(kubeconfig, encoding="utf-8").read()
        field = lambda name: re.search(rf"{name}: (\S+)", text).group(1)
        self.server = field("server")
        self.address = urllib.parse.urlparse(self.server)
        self.ca = base64.b64decode(field("certificate-authority-data"))
        with tempfile.TemporaryDirectory() as folder:
            write = lambda name: self._write(os.path.join(folder, name), base64.b64decode(field(name)))
            self.context = ssl.create_default_context(cadata=self.ca.decode())
            self.context.load_cert_chain(write("client-certificate-data"), write("client-key-data"))

    @staticmethod
    def _write(path, content):
        with open(path, "wb") as file:
            file.write(content)
        return path

    def connect(self, timeout=30):
        return http.client.HTTPSConnection(self.address.hostname, self.address.port, context=self.context, timeout=timeout)

    def request(self, method, path, body=None, kind="application/json", missing=False, through=None):
        """The answer; with `missing`, None for an object that is not there. Goes through a connection of its own, or a given one."""
        connection = through or self.connect()
        try:
            headers = {"Accept": "application/json"}
            if body is not None:
                headers["Content-Type"] = kind
                body = json.dumps(body)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            if not through:
                connection.close()
        if answer.status == 404 and missing:
            return None
        if answer.status >= 300:
            try:
                message = json.loads(text)["message"]
            except (ValueError, KeyError):
                message = text.decode(errors="replace")
            raise ApiError(answer.status, message)
        return json.loads(text) if text else None

    def get(self, path):
        """What is asked may be asked again, when the server is too busy to answer."""
        for attempt in range(4):
            try:
                return self.request("GET", path, missing=True)
            except (OSError, http.client.HTTPException):
                if attempt == 3:
                    raise
            except ApiError as problem:
                if attempt == 3 or problem.code not in (429, 500, 503, 504):
                    raise
            time.sleep(0.5)
        return None

    def post(self, path, body):
        return self.request("POST", path, body)

    def merge(self, path, body):
        return self.request("PATCH", path, body, "application/merge-patch+json")

    def strategic(self, path, body):
        return self.request("PATCH", path, body, "application/strategic-merge-patch+json")

    def delete(self, path, body=None):
        return self.request("DELETE", path, body, missing=True)

    def apply(self, path, body, manager="kubectl"):
        return self.request("PATCH", f"{path}?fieldManager={manager}&force=true", body, "application/apply-patch+yaml")

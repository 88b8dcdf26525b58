"""Loopback TCP is for clients with an API key; over the Unix socket the peer's uid is enough."""

import hashlib
import http.client
import json
import os
import socket
import unittest

import harness
from harness import MANY, Answer, Dsd, greedy

KEY, OTHER_KEY = "a-key-for-tests", "a-second-key"


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ApiKeys(unittest.TestCase):
    def setUp(self):
        self.port = free_port()
        self.dsd = self.enterContext(Dsd(
            f'[server]\nlisten = ["unix:api.sock", "127.0.0.1:{self.port}"]\n' + harness.DEVICE +
            harness.model_toml() +
            f'[[client]]\nname = "web"\nclass = "normal"\n'
            f'api_key_sha256 = ["{digest(KEY)}", "{digest(OTHER_KEY)}"]\n'
            f'[[client]]\nname = "local"\nuid = {os.getuid()}\nclass = "vip"\n'))
        self.dsd.wait_ready()

    def tcp(self, method, endpoint, body=None, key=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=harness.BOUND_S)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            connection.request(method, endpoint, json.dumps(body) if body else None,
                               {"Content-Type": "application/json", **headers})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def test_over_tcp_only_a_known_key_is_served(self):
        for key in (KEY, OTHER_KEY):
            answer = self.tcp("POST", "/v1/completions", greedy(tokens=4), key)
            self.assertEqual(answer.status, 200, answer.text)
        for key in (None, "wrong", KEY + "x", digest(KEY)):
            for method, endpoint in (("POST", "/v1/completions"), ("GET", "/v1/models"), ("GET", "/metrics"),
                                     ("GET", "/nowhere")):
                answer = self.tcp(method, endpoint, greedy(tokens=4) if method == "POST" else None, key)
                self.assertEqual(answer.status, 401, endpoint)
                self.assertEqual(answer.json["error"]["code"], "invalid_api_key")
                self.assertEqual(answer.headers["www-authenticate"], "Bearer")

    def test_health_is_told_to_everyone(self):
        self.assertEqual(self.tcp("GET", "/healthz").status, 200)
        self.assertEqual(self.tcp("GET", "/readyz").status, 200)

    def running_row(self, open_stream):
        with_stream = open_stream()
        self.addCleanup(with_stream.close)
        row = harness.wait_for(self.dsd.requests, "the request to run")[0]
        with_stream.close()
        self.dsd.wait_idle()
        return row

    def test_the_key_decides_who_the_client_is_and_what_class_it_may_use(self):
        vip = {"X-Deepserve-Class": "vip"}
        local = self.running_row(lambda: self.dsd.stream(greedy(tokens=900, n=MANY), headers=vip))
        self.assertEqual((local["client"], local["class"]), ("local", "vip"))
        with_key = {**vip, "Authorization": f"Bearer {KEY}"}
        web = self.running_row(lambda: self.dsd.stream(greedy(tokens=900, n=MANY), headers=with_key))
        self.assertEqual((web["client"], web["class"]), ("web", "normal"))

    def test_an_unknown_key_over_the_unix_socket_is_not_looked_at(self):
        answer = self.dsd.api("GET", "/v1/models", headers={"Authorization": "Bearer sk-anything"})
        self.assertEqual(answer.status, 200)

    def test_keys_are_in_no_log_and_in_no_configuration_that_is_told(self):
        self.tcp("GET", "/v1/models", key=KEY)
        self.tcp("GET", "/v1/models", key="wrong-key")
        shown = self.dsd.control("GET", "/ctl/config").text
        self.assertIn('"web"', shown)
        for text in (self.dsd.log(), shown):
            for secret in (KEY, "wrong-key", digest(KEY)):
                self.assertNotIn(secret, text)

    def test_a_port_that_is_taken_ends_dsd_with_its_address(self):
        port = self.port
        with self.assertRaisesRegex(AssertionError, f"127.0.0.1:{port}"):
            Dsd(f'[server]\nlisten = ["127.0.0.1:{port}"]\n' + harness.DEVICE + harness.model_toml() +
                f'[[client]]\nname = "web"\napi_key_sha256 = "{digest(KEY)}"\n')


if __name__ == "__main__":
    harness.main()

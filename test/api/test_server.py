"""Self-tests of the server: python3 -m unittest discover -s test/api"""

import base64
import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


class Server:
    """A server process of its own."""

    def __init__(self, *arguments):
        self.directory = tempfile.TemporaryDirectory()
        self.port_file = os.path.join(self.directory.name, "port")
        self.log = os.path.join(self.directory.name, "log")
        self.process = subprocess.Popen([
            sys.executable, os.path.join(HERE, "server.py"), "--port", "0",
            "--port-file", self.port_file, "--log", self.log,
            "--pid-file", os.path.join(self.directory.name, "pid"), *arguments])
        deadline = time.monotonic() + 10
        while not os.path.exists(self.port_file):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError("the server does not start")
            time.sleep(0.01)
        with open(self.port_file, encoding="utf-8") as file:
            self.port = int(file.read())

    def stop(self):
        """Stop it; return its exit status and the seconds it took."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(5)
        return status, time.monotonic() - started


class Answer:
    """An answer, read whole."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        """Return the parsed body."""
        return json.loads(self.body)

    def links(self):
        """Return the Link header by relation."""
        return {relation: url for url, relation in
                re.findall(r'<([^>]*)>; rel="(\w+)"', self.headers.get("Link", ""))}


class ApiTest(unittest.TestCase):
    """One server for all tests of a class; each test finds it reset."""

    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.arguments)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.directory.cleanup()

    def setUp(self):
        self.control("POST", "reset")

    def ask(self, method, target, body=None, headers=(), port=None):
        """Return the answer to a request."""
        if target.startswith("http://"):
            port, _, target = target.removeprefix("http://127.0.0.1:").partition("/")
            target = "/" + target
        connection = http.client.HTTPConnection("127.0.0.1", int(port or self.server.port),
                                                timeout=5)
        try:
            connection.request(method, target, body, dict(headers))
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, target, **headers):
        """Return the answer to a GET; headers with _ for -."""
        return self.ask("GET", target,
                        headers={name.replace("_", "-"): value for name, value in headers.items()})

    def control(self, method, name, value=None):
        """Return the parsed answer to a control request."""
        body = value if value is None or isinstance(value, bytes) else json.dumps(value)
        answer = self.ask(method, f"/control/{name}", body)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()

    def raw(self, target, timeout=3, stop_after=None):
        """Return the bytes of an answer, and how the connection ended."""
        data = b""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout) as client:
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: x:1\r\n"
                           "Connection: close\r\n\r\n".encode())
            try:
                while stop_after is None or len(data) < stop_after:
                    block = client.recv(65536)
                    if not block:
                        return data, "closed"
                    data += block
                return data, "enough"
            except ConnectionResetError:
                return data, "reset"
            except TimeoutError:
                return data, "timeout"

    def walk(self, target, limit=100):
        """Return the records of all pages and the number of pages."""
        records, pages = [], 0
        while target and pages < limit:
            answer = self.get(target)
            self.assertEqual(answer.status, 200, answer.body)
            records += answer.json()
            pages += 1
            target = answer.links().get("next")
        return records, pages


class GitHubTest(ApiTest):
    """The routes in the shape of GitHub."""

    def test_walk_of_all_issues(self):
        issues, pages = self.walk(
            "/repos/dbt-labs/dbt-core/issues?state=all&per_page=100&sort=created&direction=asc")
        self.assertEqual((len(issues), pages), (1700, 17))
        self.assertEqual(len({issue["id"] for issue in issues}), 1700)
        created = [(issue["created_at"], issue["number"]) for issue in issues]
        self.assertEqual(created, sorted(created))
        self.assertTrue(any(issue["user"] is None for issue in issues))
        pulls = sum("pull_request" in issue for issue in issues)
        self.assertTrue(0.25 < pulls / len(issues) < 0.45)
        for issue in issues:
            self.assertLessEqual(issue["created_at"], issue["updated_at"])
            self.assertEqual(issue["state"] == "closed", issue["closed_at"] is not None)
            self.assertTrue("2026-11-01" <= issue["updated_at"] < "2026-11-21")

    def test_descending_walk_and_prev(self):
        first = self.get("/repos/apache/spark/issues?state=all&per_page=10&sort=updated")
        second = self.get(first.links()["next"])
        self.assertNotIn("prev", first.links())
        self.assertRegex(first.links()["next"], r"/repositories/17165658/issues\?.*&after=.*page=2")
        self.assertEqual(self.get(second.links()["prev"]).body, first.body)
        self.assertEqual(self.get(second.links()["first"]).body, first.body)
        by_number = self.get(
            "/repos/apache/spark/issues?state=all&per_page=10&sort=updated&page=2")
        self.assertEqual(by_number.body, second.body)
        last = self.get(first.links()["last"])
        self.assertNotIn("next", last.links())
        self.assertTrue(last.json())
        self.assertEqual(self.get("/repos/apache/spark/issues?after=zork").status, 422)

    def test_since_and_state(self):
        issues, _ = self.walk("/repos/apache/spark/issues?state=all&per_page=100"
                              "&since=2026-11-20T12:00:00Z")
        self.assertTrue(issues)
        self.assertTrue(all(issue["updated_at"] >= "2026-11-20T12:00:00Z" for issue in issues))
        default = self.get("/repos/apache/spark/issues").json()
        self.assertEqual(len(default), 30)
        self.assertEqual({issue["state"] for issue in default}, {"open"})
        self.assertEqual(self.get("/repos/apache/spark/issues?since=zork").status, 422)
        self.assertEqual(self.get("/repos/octocat/empty/issues?state=all").json(), [])
        self.assertIsNone(self.get("/repos/octocat/empty/issues").headers["Link"])

    def test_entity_tag(self):
        target = "/repos/apache/airflow/issues?state=all"
        first = self.get(target)
        tag = first.headers["ETag"]
        again = self.get(target, If_None_Match=tag)
        self.assertEqual((again.status, again.body), (304, b""))
        self.assertEqual(again.headers["Link"], first.headers["Link"])
        self.assertEqual(again.headers["X-RateLimit-Used"], "1")
        self.assertEqual(self.get(target, If_None_Match=f'"x", W/{tag}').status, 304)
        self.control("POST", "clock", {"now": "2026-11-10T00:00:00Z"})
        self.assertEqual(self.get(target, If_None_Match=tag).status, 200)

    def test_clock(self):
        def story(now):
            self.control("POST", "clock", {"now": now})
            found = self.get("/repos/octocat/renames/issues?state=all&direction=asc").json()
            return {issue["number"]: issue for issue in found}

        before = story("2026-11-02T10:00:00Z")
        self.assertEqual(sorted(before), [1, 2, 4])
        self.assertEqual(before[1]["user"]["login"], "ada-l")
        self.assertEqual(before[1]["state"], "open")
        after = story("2026-11-02T16:00:00Z")
        self.assertEqual(after[1]["user"], before[1]["user"] | {
            key: value for key, value in after[1]["user"].items() if "ada" in str(value)})
        self.assertEqual(after[1]["user"]["login"], "ada-lovelace")
        self.assertEqual(after[1]["state"], "closed")
        self.assertEqual(after[2]["user"]["login"], "ada-lovelace")
        self.assertEqual(after[2]["updated_at"], before[2]["updated_at"])
        logins = [story(now)[3]["user"]["login"] for now in
                  ("2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z", "2026-11-20T00:00:00Z")]
        self.assertEqual(logins, ["grace", "grace-hopper", "amazing-grace"])
        end = story(None)
        self.assertEqual(end[1]["title"], "Rename me, again")
        self.assertEqual((end[6]["user"]["id"], end[6]["user"]["login"]), (9004, "ada-l"))
        self.assertIsNone(end[5]["user"])
        self.assertEqual(end[7]["pull_request"]["merged_at"], "2026-11-19T10:00:00Z")

    def test_commits(self):
        commits, pages = self.walk("/repos/apache/spark/commits?per_page=100")
        self.assertEqual((len(commits), pages), (700, 7))
        self.assertEqual(len({commit["sha"] for commit in commits}), 700)
        dates = [commit["commit"]["author"]["date"] for commit in commits]
        self.assertEqual(dates, sorted(dates, reverse=True))
        self.assertTrue(any(commit["author"] is None for commit in commits))
        some = self.get("/repos/apache/spark/commits?since=2026-11-05T00:00:00Z"
                        "&until=2026-11-06T00:00:00Z").json()
        self.assertTrue(some)
        self.assertTrue(all(commit["commit"]["author"]["date"].startswith("2026-11-05")
                            for commit in some))
        self.assertEqual(self.get("/repos/octocat/empty/commits").status, 409)

    def test_single_objects(self):
        issue = self.get("/repos/octocat/renames/issues/3").json()
        self.assertEqual(issue["number"], 3)
        self.assertEqual(self.get("/repos/Octocat/Renames").json()["id"], 1296002)
        self.assertEqual(self.get("/repositories/1296002/issues/3").json(), issue)
        missing = self.get("/repos/octocat/missing/issues")
        self.assertEqual(missing.status, 404)
        self.assertEqual(missing.json()["message"], "Not Found")
        self.assertEqual(self.get("/zork").status, 404)
        self.assertEqual(self.ask("POST", "/posts", b"{}").status, 405)

    def test_rate_limit(self):
        self.control("POST", "rate_limit", {"limit": 2, "window_seconds": 0.3})
        target = "/repos/octocat/renames/issues"
        remaining = [self.get(target).headers["X-RateLimit-Remaining"] for _ in range(2)]
        self.assertEqual(remaining, ["1", "0"])
        refused = self.get(target)
        self.assertEqual(refused.status, 403)
        self.assertIn("rate limit exceeded", refused.json()["message"])
        self.assertEqual(refused.headers["X-RateLimit-Remaining"], "0")
        time.sleep(max(0, int(refused.headers["X-RateLimit-Reset"]) - time.time()) + 0.01)
        self.assertEqual(self.get(target).status, 200)

    def test_token(self):
        self.control("POST", "auth", {"token": "s3cret"})
        target = "/repos/octocat/renames/issues"
        self.assertEqual(self.get(target).json()["message"], "Requires authentication")
        self.assertEqual(self.get(target, Authorization="Bearer no").status, 401)
        self.assertEqual(self.get(target, Authorization="Bearer s3cret").status, 200)
        self.assertEqual(self.get(target, Authorization="token s3cret").status, 200)
        self.assertEqual(self.get("/health").status, 200)
        log = json.dumps(self.control("GET", "log"))
        self.assertIn("Bearer sha256:", log)
        self.assertNotIn("s3cret", log)
        self.control("POST", "auth", {"token": "k", "header": "X-Api-Key"})
        self.assertEqual(self.get("/posts", X_Api_Key="k").status, 200)
        self.assertEqual(self.get("/posts").status, 401)

    def test_several_tokens(self):
        self.control("POST", "auth", {"token": ["a", "b"]})
        self.control("POST", "rate_limit", {"per_token": True, "limit": 2})
        asked = [self.get("/posts", Authorization=f"Bearer {token}") for token in "aabcab"]
        self.assertEqual([answer.status for answer in asked], [200, 200, 200, 401, 403, 200])
        self.assertEqual(asked[1].headers["X-RateLimit-Remaining"], "0")
        self.assertEqual(asked[2].headers["X-RateLimit-Remaining"], "1")

    def token(self, form, **headers):
        """Return the answer of the token endpoint."""
        return self.ask("POST", "/oauth/token", form, {
            "Content-Type": "application/x-www-form-urlencoded", **headers})

    def test_oauth(self):
        self.control("POST", "oauth", {"clients": {"me": "s3cret"}, "expires_in": 60})
        self.assertEqual(self.get("/posts").status, 401)
        grant = "grant_type=client_credentials"
        refused = self.token(f"{grant}&client_id=me&client_secret=no")
        self.assertEqual((refused.status, refused.json()["error"]), (401, "invalid_client"))
        self.assertEqual(self.token("grant_type=password").status, 400)
        answer = self.token(f"{grant}&scope=a+b&client_id=me&client_secret=s3cret").json()
        self.assertEqual((answer["token_type"], answer["expires_in"]), ("Bearer", 60))
        basic = "Basic " + base64.b64encode(b"me:s3cret").decode()
        second = self.token(grant, Authorization=basic).json()["access_token"]
        for token in (answer["access_token"], second):
            self.assertEqual(self.get("/posts", Authorization=f"Bearer {token}").status, 200)
        asked = self.control("GET", "oauth")
        self.assertEqual(asked["issued"], 2)
        self.assertEqual([entry["client_auth"] for entry in asked["grants"]],
                         ["body", "body", "body", "basic"])
        self.assertEqual(self.control("DELETE", "oauth"), {"revoked": 2})
        self.assertEqual(self.get("/posts", Authorization=f"Bearer {second}").status, 401)
        self.assertNotIn(second, json.dumps(self.control("GET", "log")))

    def test_oauth_expiry(self):
        self.control("POST", "oauth", {"clients": {"me": "s3cret"}, "expires_in": None,
                                       "valid_seconds": 0.2, "answer": {"token_type": "x"}})
        answer = self.token("grant_type=client_credentials&client_id=me&client_secret=s3cret")
        self.assertEqual(set(answer.json()), {"access_token", "token_type"})
        header = f"Bearer {answer.json()['access_token']}"
        self.assertEqual(self.get("/posts", Authorization=header).status, 200)
        time.sleep(0.25)
        self.assertEqual(self.get("/posts", Authorization=header).status, 401)

    def test_compression(self):
        target = "/repos/apache/airflow/issues?per_page=100"
        plain, packed = self.get(target), self.get(target, Accept_Encoding="gzip")
        self.assertEqual(packed.headers["Content-Encoding"], "gzip")
        self.assertEqual(gzip.decompress(packed.body), plain.body)


class OtherRoutesTest(ApiTest):
    """Posts, people, pages and scripts."""

    def test_posts(self):
        posts = self.get("/posts").json()
        self.assertEqual([post["id"] for post in posts], list(range(1, 101)))
        self.assertTrue(any(post["title"] != post["title"].strip() for post in posts))
        self.assertEqual(self.get("/posts/7").json(), posts[6])
        self.assertEqual(self.get("/posts/101").status, 404)
        self.assertEqual(len(self.get("/users").json()), 10)
        self.assertEqual(self.get("/posts?_start=10&_limit=5").json(), posts[10:15])
        page = self.get("/posts?_page=2&_limit=30")
        self.assertEqual(page.json(), posts[30:60])
        self.assertIn("next", page.links())

    def test_replaced_posts(self):
        bad = b'[{"id": 1, "title": "\\u0000"}, \xff'
        self.control("POST", "posts", bad)
        self.assertEqual(self.get("/posts").body, bad)
        self.control("DELETE", "posts")
        self.assertEqual(len(self.get("/posts").json()), 100)

    def test_people(self):
        answer = self.get("/api/?results=40&seed=abc").json()
        self.assertEqual(answer["info"], {"seed": "abc", "results": 40, "page": 1,
                                          "version": "1.4"})
        self.assertEqual(len({person["login"]["uuid"] for person in answer["results"]}), 40)
        self.assertRegex(answer["results"][0]["login"]["uuid"],
                         r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$")
        self.assertIn("country", answer["results"][0]["location"])
        self.assertEqual(self.get("/api/?results=40&seed=abc").json(), answer)

    def test_pages(self):
        target, ids, pages = "/pages/crash?pages=50&per_page=4", [], 0
        while target:
            page = self.get(target)
            ids += [record["id"] for record in page.json()["data"]]
            target = page.json()["next"]
            self.assertEqual(target, page.links().get("next"))
            pages += 1
        self.assertEqual((pages, ids), (50, list(range(1, 201))))
        array = self.get("/pages/crash?pages=2&per_page=3&style=array").json()
        self.assertEqual([record["id"] for record in array], [1, 2, 3])
        beyond = self.get("/pages/crash?pages=2&page=3").json()
        self.assertEqual((beyond["data"], beyond["next"]), ([], None))
        offset = self.get("/pages/crash?pages=2&per_page=3&offset=5&style=array").json()
        self.assertEqual([record["id"] for record in offset], [6])
        cursor = self.get("/pages/crash?pages=2&per_page=3&style=cursor").json()
        self.assertTrue(cursor["has_more"])
        rest = self.get("/pages/crash?pages=2&per_page=3&style=cursor"
                        f"&cursor={cursor['next_cursor']}").json()
        self.assertEqual(rest["data"][0]["id"], 4)
        self.assertFalse(rest["has_more"])

    def test_script(self):
        self.control("PUT", "routes", {"path": "/x", "responses": [
            {"status": 503, "headers": {"Retry-After": 0}, "body": "no"},
            {"body_base64": "/w==", "headers": {"Content-Type": "text/plain"}},
            {"body": "[1,2]", "delay_ms": 100}]})
        first, second = self.get("/x"), self.get("/x")
        self.assertEqual((first.status, first.headers["Retry-After"]), (503, "0"))
        self.assertEqual((second.body, second.headers["Content-Type"]), (b"\xff", "text/plain"))
        started = time.monotonic()
        self.assertEqual([self.get("/x").json(), self.get("/x").json()], [[1, 2], [1, 2]])
        self.assertGreater(time.monotonic() - started, 0.2)
        self.control("PUT", "routes", {"path": "/x", "repeat": "cycle", "responses": [
            {"body": "1"}, {"body": "[2,3]", "fault": "bom"}]})
        self.assertEqual([self.get("/x").body for _ in range(3)],
                         [b"1", b"\xef\xbb\xbf[2,3]", b"1"])
        self.control("DELETE", "routes")
        self.assertEqual(self.get("/x").status, 404)

    def test_echo(self):
        answer = self.ask("POST", "/echo?token=abc", "hello", {"Authorization": "Bearer abc"})
        self.assertEqual(answer.json()["body"], "hello")
        self.assertNotIn("abc", answer.json()["headers"]["authorization"])
        self.assertNotIn("=abc", answer.json()["target"])


class FaultTest(ApiTest):
    """Every fault."""

    def test_statuses(self):
        for name, status in (
                ("status_500", 500), ("status_503_retry_after", 503), ("status_429", 429),
                ("status_429_retry_after", 429), ("status_403_rate_limited", 403),
                ("status_403_secondary", 403), ("status_403_forbidden", 403),
                ("status_404", 404), ("status_401", 401), ("status_502_html", 502),
                ("status_408", 408), ("status_410", 410), ("status_422", 422),
                ("status_304_unasked", 304), ("status_204", 204), ("status?code=418", 418)):
            with self.subTest(name):
                self.assertEqual(self.get(f"/fault/{name}").status, status)
        after = self.get("/fault/status_503_retry_after?seconds=7").headers["Retry-After"]
        self.assertEqual(after, "7")
        after = self.get("/fault/status_429_retry_after?form=date").headers["Retry-After"]
        self.assertRegex(after, r"^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$")
        limited = self.get("/fault/status_403_rate_limited").headers
        self.assertEqual(limited["X-RateLimit-Remaining"], "0")
        self.assertIsNone(self.get("/fault/status_403_secondary").headers["Retry-After"])
        self.assertEqual(
            self.get("/fault/status_403_secondary?retry_after=3").headers["Retry-After"], "3")

    def test_quota(self):
        good = self.get("/pages/fault?style=array&pages=3&per_page=10").body
        for form, name in (
                ("x", "X-RateLimit-Remaining"), ("x_hyphen", "X-Rate-Limit-Remaining"),
                ("x_delta", "X-RateLimit-Remaining"), ("x_ms", "X-RateLimit-Remaining"),
                ("x_date", "X-RateLimit-Remaining"), ("ietf", "RateLimit-Remaining")):
            with self.subTest(form):
                answer = self.get(f"/fault/quota?form={form}&remaining=7")
                self.assertEqual((answer.status, answer.body), (200, good))
                self.assertEqual(answer.headers[name], "7")
        headers = self.get("/fault/quota?seconds=9").headers
        self.assertAlmostEqual(int(headers["X-RateLimit-Reset"]), time.time() + 9, delta=1.5)
        headers = self.get("/fault/quota?seconds=9&form=structured").headers
        self.assertEqual(headers["RateLimit"], '"burst";r=0;t=9, "daily";r=900;t=3600')
        headers = self.get("/fault/quota?seconds=9&form=members").headers
        self.assertEqual(headers["RateLimit"], "limit=60, remaining=0, reset=9")
        self.assertEqual(self.get("/fault/quota?status=429").status, 429)
        self.assertEqual(self.get("/fault/quota?form=other").status, 400)

    def test_spoiled_records(self):
        for name, wanted in (
                ("nul_escape", b"\\u0000"), ("lone_surrogate", b"\\ud800"),
                ("invalid_utf8", b"\xc3\x28"), ("raw_nul", b"\x00"), ("raw_control", b"\n\t"),
                ("big_integer", b":1180591620717411303424"), ("huge_number", b":1e400000"),
                ("not_a_number", b":NaN"), ("deep_nesting", b"[" * 10000 + b"]" * 10000),
                ("invalid_json_record", b'{"id" 6,'), ("record_not_object", b',"no object",'),
                ("set_field?field=value&json=12", b'"value":12,'),
                ("duplicate_key", b',"id":0}'), ("hostile_names", b"drop table"),
                ("many_fields", b'"field_4999":4999')):
            with self.subTest(name):
                body = self.get(f"/fault/{name}").body
                self.assertIn(wanted, body)
                # The other nine are as they were.
                self.assertEqual(len(re.findall(rb'"value":"fault-\d+-[0-9a-f]{8} ', body))
                                 >= 9, True, body)
        self.assertNotIn(b'"id":6', self.get("/fault/missing_field").body)
        self.assertEqual(self.get("/fault/duplicate_record").body.count(b'"id":6'), 2)
        self.assertGreater(len(self.get("/fault/long_string?megabytes=2").body), 2 << 20)
        github = "/repos/apache/airflow/issues"
        self.control("POST", "faults", {"match": github, "fault": "nul_escape", "record": 0})
        page = self.get(f"{github}?per_page=5")
        self.assertIn("next", page.links())
        self.assertEqual(["\0" in issue["title"] for issue in page.json()], [True] + [False] * 4)

    def test_spoiled_pages(self):
        good = self.get("/pages/fault?style=array&pages=3&per_page=10").body
        for name in ("invalid_json_page", "truncated_json", "empty_body", "white_space_body",
                     "html_instead_of_json", "raw_nul", "raw_control", "invalid_json_record"):
            with self.subTest(name):
                answer = self.get(f"/fault/{name}")
                self.assertEqual(answer.status, 200)
                with self.assertRaises(ValueError):
                    answer.json()
        self.assertEqual(self.get("/fault/error_object_200").json(), {"message": "error"})
        self.assertEqual(self.get("/fault/empty_page").json(), [])
        self.assertIsNone(self.get("/fault/null_body").json())
        self.assertEqual(self.get("/fault/utf16").body.decode("utf-16").encode(), good)
        self.assertEqual(self.get("/fault/bom").body, b"\xef\xbb\xbf" + good)
        self.assertEqual(self.get("/fault/chunked").body, good)
        self.assertEqual(self.get("/fault/no_content_length").body, good)
        self.assertNotIn("“".encode(), self.get("/fault/latin1").body)
        for name in ("truncated_gzip", "corrupt_gzip", "fake_gzip"):
            with self.subTest(name):
                answer = self.get(f"/fault/{name}")
                self.assertEqual(answer.headers["Content-Encoding"], "gzip")
                with self.assertRaises((EOFError, OSError)):
                    gzip.decompress(answer.body)

    def test_broken_connections(self):
        for name, end in (
                ("reset", "reset"), ("reset_before_answer", "reset"), ("garbage", "closed"),
                ("close_mid_body", "closed"), ("close_mid_body?chunked=1", "closed"),
                ("close_before_answer", "closed"), ("close_mid_head", "closed"),
                ("bad_chunk", "closed"), ("wrong_content_length", "closed"),
                ("wrong_content_length?mode=short", "closed")):
            with self.subTest(name):
                self.assertEqual(self.raw(f"/fault/{name}")[1], end)
        data, _ = self.raw("/fault/reset")
        head, _, body = data.partition(b"\r\n\r\n")
        self.assertTrue(body)
        self.assertGreater(int(re.search(rb"Length: (\d+)", head)[1]), len(body))
        for mode, sign in (("long", 10), ("short", -10)):
            head, _, body = self.raw(
                f"/fault/wrong_content_length?mode={mode}")[0].partition(b"\r\n\r\n")
            self.assertEqual(int(re.search(rb"Length: (\d+)", head)[1]), len(body) + sign)

    def test_hanging(self):
        self.assertEqual(self.raw("/fault/hang", 0.2), (b"", "timeout"))
        data, end = self.raw("/fault/hang_mid_body", 0.2)
        self.assertEqual((end, data.startswith(b"HTTP/1.1 200")), ("timeout", True))
        started = time.monotonic()
        self.assertEqual(
            len(self.get("/fault/slow_bytes?bytes_per_second=2000&style=object").json()["data"]),
            10)
        self.assertGreater(time.monotonic() - started, 0.2)
        started = time.monotonic()
        self.get("/fault/delay?ms=150")
        self.assertGreater(time.monotonic() - started, 0.15)
        log = {entry["fault"]: entry for entry in self.control("GET", "log")}
        self.assertEqual((log["hang"]["status"], log["hang"]["outcome"]), (None, "client gone"))
        self.assertEqual(log["hang_mid_body"]["status"], 200)

    def test_floods(self):
        records = self.get("/fault/huge_body?megabytes=2").json()
        self.assertGreater(len(records), 2000)
        announced = self.get("/fault/huge_body?megabytes=2&content_length=1")
        self.assertEqual(announced.json(), records)
        bomb = self.get("/fault/gzip_bomb?megabytes=3")
        self.assertLess(len(bomb.body), 20_000)
        self.assertEqual(len(json.loads(gzip.decompress(bomb.body))), 3 * (1 << 19) + 1)
        self.assertEqual(self.raw("/fault/gzip_bomb", stop_after=5000)[1], "enough")
        data, _ = self.raw("/fault/huge_header?kilobytes=100", stop_after=110_000 - 8000)
        self.assertGreater(len(data), 100_000)

    def test_pagination(self):
        records, pages = self.walk("/fault/endless_pagination", 20)
        self.assertEqual((pages, len({record["id"] for record in records})), (20, 200))
        target = "/pages/x?style=array&pages=2"
        self.control("POST", "faults", {"match": "/pages/x", "fault": "endless_pagination"})
        self.assertEqual(self.walk(target, 20)[1], 20)
        self.control("DELETE", "faults")
        self.assertEqual(self.walk(target)[1], 2)
        loop = self.get("/fault/loop_pagination").links()["next"]
        self.assertEqual(loop, f"http://127.0.0.1:{self.server.port}/fault/loop_pagination")
        loop = self.get("/fault/loop_pagination?length=2&page=2").links()["next"]
        self.assertTrue(loop.endswith("page=1"))
        self.assertTrue(self.get("/fault/link_relative").links()["next"].startswith("?page=2"))
        self.assertEqual(self.get("/fault/link_to_file").links()["next"], "file:///etc/passwd")
        self.assertEqual(self.get("/fault/link_missing").links(), {})
        github = "/repos/apache/airflow/issues"
        self.control("POST", "faults", {"match": github, "fault": "endless_pagination"})
        self.assertEqual(self.walk(f"{github}?per_page=100", 60)[1], 60)

    def test_redirects(self):
        target, hops = "/fault/redirect?hops=3", 0
        while (answer := self.get(target)).status == 302:
            target, hops = answer.headers["Location"], hops + 1
        self.assertEqual((hops, answer.status), (3, 200))
        self.control("POST", "faults", {"match": "/posts/1", "fault": "redirect", "hops": 2,
                                        "status": 307})
        first = self.get("/posts/1")
        second = self.get(first.headers["Location"])
        self.assertEqual((first.status, second.status), (307, 307))
        self.assertEqual(self.get(second.headers["Location"]).json()["id"], 1)
        self.assertEqual(self.get("/fault/redirect_to_file").headers["Location"],
                         "file:///etc/passwd")
        loop = self.get("/fault/redirect_loop").headers["Location"]
        self.assertTrue(loop.endswith("/fault/redirect_loop"))

    def test_other_host(self):
        self.control("POST", "faults", {"match": "/posts", "fault": "redirect_other_host"})
        location = self.get("/posts").headers["Location"]
        self.assertNotIn(f":{self.server.port}/", location)
        self.assertEqual(len(self.get(location).json()), 100)
        self.get(location, Authorization="Bearer secret")
        seen = self.control("GET", "other_host")
        self.assertEqual((seen["requests"], seen["with_authorization"]), (2, 1))

    def test_rules(self):
        github = "/repos/apache/airflow/issues"
        self.control("POST", "faults", {"match": github, "page": 2, "fault": "status_500",
                                        "times": 2})
        first = self.get(f"{github}?per_page=5")
        statuses = [self.get(first.links()["next"]).status for _ in range(3)]
        self.assertEqual((first.status, statuses), (200, [500, 500, 200]))
        self.assertEqual(self.control("GET", "faults")[0]["hits"], 2)
        self.control("DELETE", "faults")
        self.control("POST", "faults", [
            {"match": "/pages/*", "fault": "status", "params": {"code": 418}, "skip": 1},
            {"match": "/posts?userId=3", "fault": "status_404"}])
        self.assertEqual([self.get("/pages/a").status, self.get("/pages/b").status], [200, 418])
        self.assertEqual([self.get("/posts?userId=3").status, self.get("/posts").status],
                         [404, 200])
        self.assertEqual(self.ask("POST", "/control/faults", '{"match":"/","fault":"zork"}').status,
                         400)
        statuses = [self.get("/fault/status_500?times=2").status for _ in range(3)]
        self.assertEqual(statuses, [500, 500, 200])

    def test_every_fault_answers(self):
        """No fault may end in an error of the server itself."""
        for name in self.control("GET", "info")["faults"]:
            if name not in ("hang", "huge_body", "gzip_bomb", "slow_bytes", "delay",
                            "long_string"):
                self.raw(f"/fault/{name}?style=object", 0.05)
        time.sleep(0.1)
        self.assertEqual({entry["outcome"] for entry in self.control("GET", "log")},
                         {"sent", "client gone"})


class ProcessTest(ApiTest):
    """The server as a process: log, counts, connections, stopping."""

    arguments = ("--now", "2026-11-05T00:00:00Z", "--latency-ms", "30", "--require-token", "T",
                 "--seed", "7")

    def test_options(self):
        self.assertEqual(self.get("/posts").status, 401)
        started = time.monotonic()
        issues = self.get("/repos/apache/spark/issues?sort=updated",
                          Authorization="Bearer T").json()
        self.assertGreater(time.monotonic() - started, 0.03)
        self.assertTrue(all(issue["updated_at"] < "2026-11-05T" for issue in issues))
        self.control("POST", "clock", {"now": None})
        self.control("POST", "reset")
        self.assertEqual(self.control("GET", "clock"), {"now": "2026-11-05T00:00:00Z"})

    def test_log_and_stats(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port)
        for page in (1, 2, 2):
            connection.request("GET", f"/pages/x?page={page}",
                               headers={"Authorization": "Bearer T"})
            self.assertEqual(connection.getresponse().read()[:8], b'{"data":')
        connection.close()
        self.get("/posts", If_None_Match='"x"')
        stats = self.control("GET", "stats")
        self.assertEqual((stats["requests"], stats["connections"]), (4, 2))
        self.assertEqual(stats["by_path"]["/pages/x"],
                         {"requests": 3, "pages": {"1": 1, "2": 2}, "statuses": {"200": 3}})
        log = self.control("GET", "log?path=/posts")
        self.assertEqual([entry["status"] for entry in log], [401])
        self.assertEqual(log[0]["headers"]["if-none-match"], '"x"')
        with open(self.server.log, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual(lines[-1], log[0])
        self.assertFalse(any("/control" in line["target"] for line in lines))
        self.control("POST", "reset")
        self.assertEqual(self.control("GET", "log"), [])

    def test_keep_alive_and_pipelining(self):
        request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self.server.port), 3) as client:
            client.sendall(request * 2 + last)
            data = b""
            while block := client.recv(65536):
                data += block
        self.assertEqual(data.count(b"HTTP/1.1 200 OK"), 3)
        with socket.create_connection(("127.0.0.1", self.server.port), 3) as client:
            client.sendall(b"nonsense\r\n\r\n")
            self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 400"))

    def test_same_seed_same_bytes(self):
        def bodies(server):
            found = []
            for target in ("/repos/dbt-labs/dbt-core/issues?state=all", "/posts",
                           "/api/?results=9", "/repos/apache/spark/commits"):
                connection = http.client.HTTPConnection("127.0.0.1", server.port)
                connection.request("GET", target, headers={"Authorization": "Bearer T"})
                found.append(connection.getresponse().read())
                connection.close()
            return found

        self.control("POST", "clock", {"now": "2026-11-09T00:00:00Z"})
        for seed, same in (("7", True), ("8", False)):
            other = Server("--now", "2026-11-09T00:00:00Z", "--seed", seed)
            try:
                self.assertEqual(bodies(other) == bodies(self.server), same)
            finally:
                other.stop()
                other.directory.cleanup()

    def test_stops_while_connections_hang(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            server = Server()
            clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
            for client, target in zip(clients, ("/fault/hang", "/fault/hang_mid_body",
                                                "/fault/gzip_bomb", "/fault/huge_body",
                                                "/fault/slow_bytes")):
                client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            time.sleep(0.1)
            started = time.monotonic()
            server.process.send_signal(number)
            self.assertEqual(server.process.wait(5), 0)
            self.assertLess(time.monotonic() - started, 1)
            self.assertFalse(os.path.exists(server.port_file))
            with open(server.log, encoding="utf-8") as file:
                outcomes = [json.loads(line)["outcome"] for line in file]
            self.assertEqual(outcomes, ["aborted"] * 5)
            for client in clients:
                client.close()
            server.directory.cleanup()


if __name__ == "__main__":
    unittest.main()

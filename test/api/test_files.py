"""Self-tests of files and GraphQL: python3 -m unittest discover -s test/api"""

import csv
import gzip
import io
import json
import shutil
import subprocess
import unittest

from test_server import ApiTest

QUERY = "query($owner: String!) { repository(owner: $owner) { issues { nodes { number } } } }"


class FilesTest(ApiTest):
    """The same records, however they are written."""

    def test_formats_have_the_same_records(self):
        lines = self.get("/files/a?records=40").body.decode().split("\n")
        self.assertEqual(lines.pop(), "")
        records = [json.loads(line) for line in lines]
        self.assertEqual([record["id"] for record in records], list(range(1, 41)))
        self.assertEqual(self.get("/files/a?records=40&format=json").json(), records)
        for line_end in ("lf", "crlf", "cr"):
            text = self.get(f"/files/a?records=40&format=csv&null=%5CN&line_end={line_end}")
            rows = list(csv.DictReader(io.StringIO(text.body.decode(), newline="")))
            self.assertEqual([row["text"] for row in rows], [row["text"] for row in records])
            self.assertEqual([row["closed_at"] for row in rows],
                             [row["closed_at"] or "\\N" for row in records])

    def test_compressions(self):
        plain = self.get("/files/a?records=500").body
        for compression in ("gzip", "gzip_parts"):
            answer = self.get(f"/files/a?records=500&compression={compression}")
            self.assertIsNone(answer.headers["Content-Encoding"])
            self.assertEqual(gzip.decompress(answer.body), plain)
        if shutil.which("zstd"):
            for compression in ("zstd", "zstd_parts"):
                answer = self.get(f"/files/a?records=500&compression={compression}&padding=1")
                self.assertEqual(
                    subprocess.run(["zstd", "-dc"], input=answer.body, capture_output=True,
                                   check=True).stdout,
                    self.get("/files/a?records=500&padding=1").body)
        bomb = self.get("/files/a?compression=zstd&padding=20")
        self.assertLess(len(bomb.body), 200_000)
        self.assertEqual(self.get("/files/a?compression=zork").status, 400)

    def test_charsets_and_damage(self):
        plain = self.get("/files/a?texts=japanese")
        self.assertEqual(plain.headers["Content-Type"], "application/x-ndjson")
        answer = self.get("/files/a?texts=japanese&charset=shift_jis")
        self.assertEqual(answer.headers["Content-Type"], "application/x-ndjson; charset=shift_jis")
        self.assertEqual(answer.body.decode("shift_jis"), plain.body.decode())
        self.assertEqual(self.get("/files/a?texts=any&charset=latin-1").status, 400)
        whole = self.get("/files/a").body
        self.assertEqual(self.get("/files/a?cut=10&append=ff00").body, whole[:-10] + b"\xff\x00")
        self.assertEqual(self.get("/files/a?final=0").body, whole[:-1])
        self.assertEqual(self.get("/files/a?insert=zork&after=2").body.split(b"\n")[2], b"zork")


class GraphQLTest(ApiTest):
    """Pages by cursor, and errors that call themselves successes."""

    def ask_for(self, document=QUERY, **variables):
        """Return the parsed answer, which always is a 200."""
        answer = self.ask("POST", "/graphql", json.dumps(
            {"query": document, "variables": variables}))
        self.assertEqual(answer.status, 200)
        return answer.json()

    def test_walk(self):
        numbers, after = [], None
        while True:
            issues = self.ask_for(owner="octocat", name="renames", first=3,
                                  after=after)["data"]["repository"]["issues"]
            numbers += [node["number"] for node in issues["nodes"]]
            after = issues["pageInfo"]["endCursor"]
            if not issues["pageInfo"]["hasNextPage"]:
                break
        self.assertEqual(sorted(numbers), list(range(1, 9)))
        self.assertEqual(issues["totalCount"], 8)

    def test_errors(self):
        answer = self.ask_for(owner="no", name="body", first=3)
        self.assertIsNone(answer["data"]["repository"])
        self.assertEqual(answer["errors"][0]["type"], "NOT_FOUND")
        self.assertIsNone(self.ask_for(owner="octocat", name="renames")
                          ["data"]["repository"]["issues"])
        self.assertIsNone(self.ask_for(owner="octocat", name="renames", first=3, after="x")["data"])
        self.assertNotIn("data", self.ask_for("query {"))
        self.assertEqual(self.get("/graphql").status, 404)
        self.assertEqual(self.ask("POST", "/graphql", "zork").status, 400)

    def test_pages_by_the_body_of_a_post(self):
        got = self.ask("POST", "/pages/a", json.dumps({"page": 2, "per_page": 3, "cursor": None}))
        self.assertEqual(got.json()["data"], self.get("/pages/a?page=2&per_page=3").json()["data"])


if __name__ == "__main__":
    unittest.main()

"""Prints records for the bench, one a line in hexadecimal: records.py issues|events|readings COUNT.

issues: of the sample API, in GitHub's shape, 2 to 5 kB each; events: a quarter of that, nested, with
escapes; readings: small and full of numbers.
"""
import json
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'test' / 'api'))

from data import World                      # noqa: E402
from github_shapes import issue_shape       # noqa: E402
from timeline import parse_time             # noqa: E402

rng = random.Random(1)
WORDS = 'merge branch fix the of a for scheduler typo "quoted" naïve test release\n dag operator\t'.split(' ')


def issues(count):
    now = parse_time('2026-11-21T00:00:00Z')
    repository = World(1).repository('apache/airflow')
    kept = 0
    for issue in repository.issues:
        version = issue.at(now)
        if version >= 0 and kept < count:
            kept += 1
            yield issue_shape(repository.full_name, issue, version, now)


def event(n):
    text = ' '.join(rng.choices(WORDS, k=20))
    return {'id': str(10 ** 10 + n), 'type': 'PushEvent', 'actor': {'id': n % 977, 'login': f'user-{n % 977}', 'url': f'https://api.github.com/users/user-{n % 977}'},
            'repo': {'id': n % 131, 'name': f'org/repository-{n % 131}'}, 'public': True, 'created_at': '2026-11-19T10:04:55Z',
            'payload': {'push_id': 5 * 10 ** 8 + n, 'size': 1, 'ref': 'refs/heads/main', 'commits': [{'sha': f'{rng.getrandbits(160):040x}', 'message': text, 'distinct': True}]}}


def reading(n):
    return {'id': n, 'sensor': f's-{n % 50}', 'at': 1795000000 + n, 'values': [round(rng.gauss(20, 5), 2) for _ in range(8)], 'ok': n % 7 != 0, 'battery': rng.randrange(100)}


def main():
    kind, count = sys.argv[1], int(sys.argv[2])
    if kind == 'issues':
        records = issues(count)
    else:
        records = (event(n) if kind == 'events' else reading(n) for n in range(count))
    for record in records:
        print(json.dumps(record, ensure_ascii=False, separators=(',', ':')).encode().hex())


main()

"""Vocabulary of the sample data."""

FIRST_NAMES = (
    "Ada", "Amara", "Anders", "Bela", "Bruno", "Chiara", "Chen", "Dmitri", "Elif", "Emeka",
    "Fatima", "Felix", "Grete", "Hana", "Hugo", "Ines", "Ivan", "Jana", "Jarek", "Jonas",
    "Kaito", "Lars", "Leila", "Lucía", "Mads", "Marek", "Mei", "Mina", "Nadia", "Noor",
    "Olga", "Oskar", "Paolo", "Priya", "Quentin", "Rania", "René", "Sanna", "Søren", "Tariq",
    "Tomás", "Uma", "Vera", "Wei", "Xenia", "Yara", "Yusuf", "Zoë", "Zuzana", "Łukasz",
)
LAST_NAMES = (
    "Adeyemi", "Almeida", "Andersson", "Bauer", "Bianchi", "Brown", "Chen", "Costa", "Dąbrowski",
    "Diallo", "Dubois", "Eriksen", "Fernández", "Fischer", "Garcia", "Haddad", "Hansen", "Ito",
    "Ivanova", "Jensen", "Johansson", "Kaya", "Kim", "Kowalski", "Kumar", "Lefèvre", "Li",
    "Lindqvist", "Lopez", "Martin", "Meyer", "Mori", "Müller", "Nguyen", "Novák", "O'Brien",
    "Okafor", "Olsen", "Patel", "Pereira", "Petrov", "Rossi", "Sato", "Schmidt", "Silva",
    "Singh", "Smith", "Tanaka", "Virtanen", "Wójcik", "Yılmaz", "Zhang",
)
ASCII_FOLD = str.maketrans("íéøáëŁłèąüıóö", "ieoaelleauioo")

COUNTRIES = (
    ("Australia", "AU"), ("Brazil", "BR"), ("Canada", "CA"), ("Denmark", "DK"), ("Finland", "FI"),
    ("France", "FR"), ("Germany", "DE"), ("India", "IN"), ("Ireland", "IE"), ("Mexico", "MX"),
    ("Netherlands", "NL"), ("New Zealand", "NZ"), ("Norway", "NO"), ("Serbia", "RS"),
    ("Spain", "ES"), ("Switzerland", "CH"), ("Turkey", "TR"), ("Ukraine", "UA"),
    ("United Kingdom", "GB"), ("United States", "US"),
)
CITIES = (
    "Aarhus", "Belgrade", "Bergen", "Bogotá", "Cork", "Curitiba", "Dunedin", "Espoo", "Geelong",
    "Ghent", "Graz", "Haarlem", "İzmir", "Kharkiv", "Köln", "Leeds", "Lyon", "Málaga", "Mérida",
    "Portland", "Pune", "Québec", "Tampere", "Zürich",
)
STREETS = ("Main Street", "Station Road", "Rue de la Gare", "Lindenstraße", "Calle de Alcalá",
           "Park Avenue", "Kirkegata", "Victoria Road", "Atatürk Sk", "Hämeenkatu")

VERBS = ("Add", "Allow", "Avoid", "Bump", "Deprecate", "Document", "Fix", "Handle", "Improve",
         "Move", "Refactor", "Remove", "Rename", "Restore", "Simplify", "Support", "Test",
         "Update", "Validate")
ADJECTIVES = ("broken", "dynamic", "empty", "flaky", "incremental", "invalid", "missing", "nested",
              "new", "optional", "parallel", "partial", "remote", "slow", "stale", "unused")
NOUNS = {
    "airflow": ("DAG serialization", "backfill", "task group", "scheduler heartbeat",
                "XCom backend", "Kubernetes executor", "dataset trigger", "connection form",
                "log handler",
                "deferrable operator", "pool slots", "timetable", "Celery worker", "asset event"),
    "spark": ("shuffle service", "Catalyst rule", "Parquet reader", "structured streaming query",
              "broadcast join", "executor memory", "Arrow conversion", "partition pruning",
              "UDF registration", "ANSI mode", "catalog plugin", "Python worker", "codegen path"),
    "dbt-core": ("incremental model", "snapshot", "source freshness", "manifest", "Jinja macro",
                 "unit test", "profile", "partial parsing", "selector", "exposure", "seed",
                 "semantic model", "contract enforcement"),
}
PLACES = ("on retry", "in the web UI", "for large tables", "when the database restarts",
          "on Windows", "after an upgrade", "with Python 3.13", "in the REST API",
          "for PostgreSQL 18", "under load", "in CI", "when a label contains “quotes”",
          "for names like O'Brien", "with <html> & entities", "在中文环境下", "avec des accents éà",
          "😬", "")
SENTENCES = (
    "Steps to reproduce are below.",
    "This used to work before the last release.",
    "The log says \"connection reset by peer\" and nothing else.",
    "Setting `retries = 3` in the configuration makes no difference.",
    "I expected the second run to be a no-op, but it wrote every row again.",
    "See also the discussion on the mailing list.",
    "A path such as C:\\data\\new\\table is not escaped.",
    "Größe, naïveté, Ελληνικά, русский, 日本語 and العربية all appear in column names.",
    "Happens about once in 50 runs 🤷‍♀️ — usually at night.",
    "It costs us ~15% of the throughput; see https://example.org/graph?from=1&to=2.",
    "Workaround: delete the row by hand; 'drop table' also works, but is not recommended.",
    "The stack trace mentions `NullPointerException`, the database does not.",
    "Would you accept a pull request for this?",
    "Tabs\tand non\u00a0breaking spaces survive the round trip.",
    "The column is literally called \"select\".",
)
SNIPPETS = (
    "```python\r\nwith DAG(\"demo\", schedule=None) as dag:\r\n"
    "    print({'a': 1, \"b\": [2, 3]})\r\n```",
    "```sql\r\nselect count(*) filter (where state = 'open') from issues; -- 50% off\r\n```",
    "```json\r\n{\"key\": \"value\", \"nul\": \"\\u0000\", \"list\": [1, 2, {\"x\": null}]}\r\n```",
    "```\r\nTraceback (most recent call last):\r\n  File \"job.py\", line 12, in <module>\r\n"
    "ValueError: could not convert '1.0e' to float\r\n```",
    "- [x] I read the documentation\r\n- [ ] I searched for duplicates\r\n",
    "| version | works |\r\n|---|---|\r\n| 2.9 | yes |\r\n| 3.0 | **no** |\r\n",
    "<details><summary>Log</summary>\r\n\r\n<pre>INFO 100% done</pre>\r\n</details>",
)
LABELS = (
    ("bug", "d73a4a", "Something isn't working"),
    ("documentation", "0075ca", "Improvements or additions to documentation"),
    ("duplicate", "cfd3d7", "This issue or pull request already exists"),
    ("enhancement", "a2eeef", "New feature or request"),
    ("good first issue", "7057ff", "Good for newcomers"),
    ("help wanted", "008672", "Extra attention is needed"),
    ("invalid", "e4e669", None),
    ("question", "d876e3", "Further information is requested"),
    ("wontfix", "ffffff", None),
    ("kind:meta", "ededed", "High-level information important to the community"),
    ("area:core", "fbca04", None),
    ("area:UI", "1d76db", "Related to the \"new\" UI"),
    ("área:tradução", "c5def5", "Labels need not be ASCII"),
    ("priority: high 🔥", "b60205", None),
)
MILESTONES = (("3.2.0", "closed"), ("3.3.0", "open"), ("Backlog / someday", "open"))
ASSOCIATIONS = ("NONE", "NONE", "NONE", "CONTRIBUTOR", "CONTRIBUTOR", "COLLABORATOR", "MEMBER",
                "FIRST_TIME_CONTRIBUTOR")
LATIN = ("lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt "
         "ut labore et dolore magna aliqua enim ad minim veniam quis nostrud exercitation ullamco "
         "laboris nisi aliquip ex ea commodo consequat duis aute irure in reprehenderit voluptate "
         "velit esse cillum eu fugiat nulla pariatur").split()

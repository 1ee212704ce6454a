"""GraphQL in the shape of GitHub's: POST /graphql, for the issues of a repository."""

import base64
import binascii

from message import BadRequest, json_response

CURSOR = "cursor:v2:"


class GraphQL:
    """The route.  What is asked for is read from the variables, not from the document."""

    def __init__(self, app):
        self.app = app

    def route(self, request):
        """Return the answer: errors have status 200, as GraphQL has it."""
        try:
            asked = request.json()
        except BadRequest:
            return json_response({"message": "Problems parsing JSON"}, 400)
        document = asked.get("query") if isinstance(asked, dict) else None
        if not isinstance(document, str):
            return json_response({"errors": [
                {"message": "A query attribute must be specified and must be a string."}]})
        if document.count("{") != document.count("}") or "{" not in document:
            return json_response({"errors": [{"message": "Parse error on \"}\" (RCURLY)",
                                              "locations": [{"line": 1, "column": 1}]}]})
        variables = asked.get("variables") or {}
        first = variables.get("first")
        if not isinstance(first, int) or not 1 <= first <= 100:
            return json_response({"errors": [
                {"type": "MISSING_PAGINATION_BOUNDARIES", "path": ["repository", "issues"],
                 "message": "You must provide a `first` or `last` value of 1 to 100."}],
                "data": {"repository": {"issues": None}}})
        return self.issues(f"{variables.get('owner')}/{variables.get('name')}", first,
                           variables.get("after"))

    def issues(self, full_name, first, after):
        """Return a page of the issues of a repository, oldest first."""
        repository = self.app.world.repository(full_name)
        if repository is None:
            return json_response({"data": {"repository": None}, "errors": [
                {"type": "NOT_FOUND", "path": ["repository"],
                 "message": f"Could not resolve to a Repository with the name '{full_name}'."}]})
        _, rows = self.app.github.view(repository).order("all", None, "created", False)
        start = 0
        if after is not None:
            try:
                text = base64.b64decode(after, validate=True).decode()
                start = int(text.removeprefix(CURSOR))
            except (binascii.Error, ValueError, TypeError):
                return json_response({"data": None, "errors": [
                    {"type": "INVALID_CURSOR_ARGUMENTS",
                     "message": f"`{after}` does not appear to be a valid cursor."}]})
        nodes = []
        for issue, version in rows[start:start + first]:
            shown = issue.versions[version]
            nodes.append({
                "number": issue.number, "title": shown["title"], "state": shown["state"].upper(),
                "author": issue.author and {"login": issue.author.login(self.app.now)}})
        end = start + len(nodes)
        cursor = base64.b64encode(f"{CURSOR}{end}".encode()).decode() if nodes else None
        return json_response({"data": {"repository": {"issues": {
            "totalCount": len(rows),
            "pageInfo": {"endCursor": cursor, "hasNextPage": end < len(rows)},
            "nodes": nodes}}}})

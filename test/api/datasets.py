"""Routes of datasets that a test puts in: /datasets/{name}, filtered, paged, with totals."""

from files import csv_text
from message import Response, error_response, json_response, link_header, with_query


class Dataset:
    """Records, and in what their answers differ from the truth."""

    def __init__(self, spec):
        self.records = spec["records"]
        self.said = {key: spec[key] for key in ("total", "pages") if key in spec}
        self.max_per_page = spec.get("max_per_page", 1_000_000)
        self.ignored = spec.get("ignore", [])
        self.short = spec.get("short", {})
        self.later = spec.get("later", [])
        self.requests = 0

    def count(self):
        """Count a request; the records may change by it."""
        self.requests += 1
        for change in self.later:
            if self.requests == change["request"]:
                self.records = change["records"]

    def parameters(self, request):
        """Return those the source does not ignore."""
        return {name: value for name, value in request.query.items()
                if name not in self.ignored}


class Datasets:
    """Named datasets; every one of them the test's own."""

    def __init__(self):
        self.held = {}

    def put(self, spec):
        """Serve a dataset from now on."""
        self.held[spec["name"]] = Dataset(spec)

    def route(self, request, name):
        """GET or POST /datasets/{name}: since= and until= go by field= (updated_at)."""
        if name not in self.held:
            return error_response(404, f"No such dataset: {name}")
        dataset = self.held[name]
        dataset.count()
        field = request.query.get("field", "updated_at")
        records = dataset.records
        query = dataset.parameters(request)
        if request.query.get("since"):
            records = [record for record in records
                       if str(record.get(field)) >= request.query["since"]]
        if request.query.get("until"):
            records = [record for record in records
                       if str(record.get(field)) < request.query["until"]]
        per_page = min(request.number("per_page", request.number("limit", 10, 1), 1),
                       dataset.max_per_page)
        if "offset" in query:
            start = request.number("offset", 0)
        elif "after" in query:
            ids = [str(record.get("id")) for record in records]
            start = ids.index(query["after"]) + 1 if query["after"] in ids else len(ids)
        elif "page" in query:
            start = (request.number("page", 1, 1) - 1) * per_page
        else:
            start = 0
        shown = records[start:start + dataset.short.get(str(start), per_page)]
        pages = -(-len(records) // per_page)
        page = start // per_page + 1
        more = start + per_page < len(records)

        def numbered(other):
            return request.base + with_query(request.raw_path, request.pairs, page=str(other))

        style = request.query.get("style", "object")
        said = {"total": len(records), "pages": pages} | dataset.said
        headers = [("X-Total-Count", str(said["total"])), ("X-Total-Pages", str(said["pages"]))]
        if style == "array":
            if more:
                headers.append(("Link", link_header([("next", numbered(page + 1))])))
            response = json_response(shown, headers=headers, etag=True)
        elif style == "csv":
            body = "\ufeff" + csv_text(shown, ",", '"', "", True, "\n")
            response = Response(body=body.encode(), content_type="text/csv", headers=headers, etag=True)
        elif style == "token":
            last = shown[-1] if shown else {}
            response = json_response({
                "items": shown, "next_cursor": str(last.get("id")) if more else None,
            }, headers=headers, etag=True)
        else:
            response = json_response({
                "data": shown, "total": said["total"], "pages": said["pages"], "has_more": more,
                "next": numbered(page + 1) if more else None,
            }, headers=headers, etag=True)
        return response


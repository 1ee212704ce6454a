"""Routes of datasets that a test puts in: /datasets/{name}, filtered, paged, with totals."""

from message import error_response, json_response, link_header, with_query


class Datasets:
    """Named lists of records; every one of them the test's own."""

    def __init__(self):
        self.held = {}

    def put(self, name, records):
        """Serve these records from now on."""
        self.held[name] = records

    def route(self, request, name):
        """GET or POST /datasets/{name}: since= and until= go by field= (updated_at)."""
        if name not in self.held:
            return error_response(404, f"No such dataset: {name}")
        field = request.query.get("field", "updated_at")
        records = self.held[name]
        if request.query.get("since"):
            records = [record for record in records
                       if str(record.get(field)) >= request.query["since"]]
        if request.query.get("until"):
            records = [record for record in records
                       if str(record.get(field)) < request.query["until"]]
        per_page = request.number("per_page", 10, 1)
        if "offset" in request.query:
            start = request.number("offset", 0)
        elif "after" in request.query:
            ids = [str(record.get("id")) for record in records]
            after = request.query["after"]
            start = ids.index(after) + 1 if after in ids else len(ids)
        else:
            start = (request.number("page", 1, 1) - 1) * per_page
        shown = records[start:start + per_page]
        pages = -(-len(records) // per_page)
        page = start // per_page + 1
        more = start + per_page < len(records)

        def numbered(other):
            return request.base + with_query(request.raw_path, request.pairs, page=str(other))

        style = request.query.get("style", "object")
        headers = [("X-Total-Count", str(len(records))), ("X-Total-Pages", str(pages))]
        if style == "array":
            if more:
                headers.append(("Link", link_header([("next", numbered(page + 1))])))
            response = json_response(shown, headers=headers, etag=True)
        elif style == "token":
            last = shown[-1] if shown else {}
            response = json_response({
                "items": shown, "next_cursor": str(last.get("id")) if more else None,
            }, headers=headers, etag=True)
        else:
            response = json_response({
                "data": shown, "total": len(records), "pages": pages, "has_more": more,
                "next": numbered(page + 1) if more else None,
            }, headers=headers, etag=True)
        return response


"""Routes in the shape of jsonplaceholder.typicode.com: /posts and /users."""

import json

import words
from dice import Dice
from message import Response, dump, json_response, link_header, with_query


def sentence(dice, low, high):
    """Return some Latin words."""
    return " ".join(dice.pick(words.LATIN) for _ in range(dice.between(low, high)))


def make_posts(seed):
    """Return the 100 posts; every 7th title and every 10th body has white space to trim."""
    dice = Dice(seed, "posts")
    posts = []
    for id in range(1, 101):
        title = sentence(dice, 3, 8)
        body = "\n".join(sentence(dice, 5, 9) for _ in range(4))
        if id % 7 == 0:
            title = f"  {title} "
        if id % 10 == 0:
            body = f"\t{body}\n\n"
        posts.append({"userId": (id - 1) // 10 + 1, "id": id, "title": title, "body": body})
    return posts


def make_users(seed):
    """Return the 10 users."""
    dice = Dice(seed, "posts users")
    users = []
    for id in range(1, 11):
        first, last = dice.pick(words.FIRST_NAMES), dice.pick(words.LAST_NAMES)
        login = f"{first}.{last}".translate(words.ASCII_FOLD).replace("'", "")
        users.append({
            "id": id,
            "name": f"{first} {last}",
            "username": login,
            "email": f"{login.lower()}@example.org",
            "address": {
                "street": dice.pick(words.STREETS),
                "suite": f"Apt. {dice.between(100, 999)}",
                "city": dice.pick(words.CITIES),
                "zipcode": f"{dice.between(10000, 99999)}-{dice.between(1000, 9999)}",
                "geo": {"lat": f"{dice.below(180) - 90}.{dice.between(1000, 9999)}",
                        "lng": f"{dice.below(360) - 180}.{dice.between(1000, 9999)}"},
            },
            "phone": f"1-{dice.between(100, 999)}-{dice.between(100, 999)}-"
                     f"{dice.between(1000, 9999)} x{dice.between(100, 999)}",
            "website": f"{login.lower().replace('.', '-')}.example.org",
            "company": {"name": f"{last} Group", "catchPhrase": sentence(dice, 3, 4),
                        "bs": sentence(dice, 3, 3)},
        })
    return users


class Posts:
    """The routes; the array of posts can be replaced by any bytes."""

    def __init__(self, seed):
        self.posts = make_posts(seed)
        self.users = make_users(seed)
        self.replaced = None

    def route(self, request, path):
        """Return the answer to a path, or None if it is none of ours."""
        kind, _, id = path.strip("/").partition("/")
        if kind not in ("posts", "users") or "/" in id:
            return None
        if kind == "posts" and self.replaced is not None:
            if not id:
                return Response(body=self.replaced, etag=True)
            try:
                records = json.loads(self.replaced)
            except ValueError:
                records = []
        else:
            records = self.posts if kind == "posts" else self.users
        if id:
            for record in records:
                if isinstance(record, dict) and str(record.get("id")) == id:
                    return json_response(record, etag=True)
            return json_response({}, 404)
        return self.listing(request, records)

    @staticmethod
    def listing(request, records):
        """Return records, filtered by userId and cut to _page/_start and _limit if given."""
        if "userId" in request.query:
            records = [record for record in records
                       if str(record.get("userId")) == request.query["userId"]]
        headers = []
        if "_page" in request.query:
            size = request.number("_limit", 10, 1)
            page = request.number("_page", 1, 1)
            last = max(1, -(-len(records) // size))

            def numbered(number):
                return request.base + with_query(request.raw_path, request.pairs,
                                                 _page=str(number))

            headers = [("X-Total-Count", str(len(records))), ("Link", link_header([
                ("first", numbered(1)),
                ("prev", numbered(page - 1) if page > 1 else None),
                ("next", numbered(page + 1) if page < last else None),
                ("last", numbered(last)),
            ]))]
            records = records[(page - 1) * size:page * size]
        elif "_start" in request.query or "_limit" in request.query:
            start = request.number("_start", 0)
            records = records[start:start + request.number("_limit", 10)]
        return Response(body=dump(records), headers=headers, etag=True)

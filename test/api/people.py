"""Route in the shape of randomuser.me: /api/."""

import hashlib

import words
from dice import Dice
from message import json_response
from timeline import START, iso

YEAR = 31_557_600


def person(seed, page, position):
    """Return one person."""
    dice = Dice(seed, "people", page, position)
    first, last = dice.pick(words.FIRST_NAMES), dice.pick(words.LAST_NAMES)
    country, nat = dice.pick(words.COUNTRIES)
    gender = dice.pick(("female", "male"))
    title = dice.pick(("Ms", "Mrs", "Miss") if gender == "female" else ("Mr", "Monsieur"))
    mail = f"{first}.{last}".translate(words.ASCII_FOLD).replace("'", "").lower()
    password, salt = dice.pick(words.LATIN), dice.hex(8)
    digits = dice.hex(32)
    born, registered = dice.between(19, 79), dice.between(1, 18)
    number = dice.between(10_000, 99_999)
    portrait = f"https://randomuser.me/api/portraits/{dice.between(0, 99)}.jpg"

    def digest(name):
        return hashlib.new(name, (password + salt).encode()).hexdigest()

    return {
        "gender": gender,
        "name": {"title": title, "first": first, "last": last},
        "location": {
            "street": {"number": dice.between(1, 9999), "name": dice.pick(words.STREETS)},
            "city": dice.pick(words.CITIES),
            "state": dice.pick(words.CITIES),
            "country": country,
            # A number for some countries and a string for others, as at randomuser.me.
            "postcode": f"{nat}{number % 100} {number % 9}AB" if nat in ("GB", "CA", "NL")
                        else number,
            "coordinates": {
                "latitude": f"{dice.below(180) - 90}.{dice.between(1000, 9999)}",
                "longitude": f"{dice.below(360) - 180}.{dice.between(1000, 9999)}",
            },
            "timezone": {"offset": dice.pick(("-5:00", "0:00", "+1:00", "+5:30", "+9:00")),
                         "description": "Sample & Test, Nowhere"},
        },
        "email": f"{mail}@example.com",
        "login": {
            "uuid": f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}",
            "username": f"{dice.pick(words.ADJECTIVES)}{last.translate(words.ASCII_FOLD).lower()}"
                        f"{dice.between(100, 999)}",
            "password": password,
            "salt": salt,
            "md5": digest("md5"),
            "sha1": digest("sha1"),
            "sha256": digest("sha256"),
        },
        "dob": {"date": iso(START - born * YEAR - dice.below(YEAR)), "age": born},
        "registered": {"date": iso(START - registered * YEAR), "age": registered},
        "phone": f"({dice.between(100, 999)})-{dice.between(100, 999)}-{dice.between(1000, 9999)}",
        "cell": f"({dice.between(100, 999)})-{dice.between(100, 999)}-{dice.between(1000, 9999)}",
        "id": ({"name": "", "value": None} if dice.chance(0.3)
               else {"name": "SSN", "value": f"{number}-{dice.between(1000, 9999)}"}),
        "picture": {"large": portrait, "medium": portrait.replace("portraits/", "portraits/med/"),
                    "thumbnail": portrait.replace("portraits/", "portraits/thumb/")},
        "nat": nat,
    }


def route(request, server_seed):
    """GET /api/?results=N&seed=...&page=N"""
    seed = request.query.get("seed") or Dice(server_seed, "people").hex(16)
    page = request.number("page", 1, 1)
    count = request.number("results", 1, 1, 5000)
    return json_response({
        "results": [person(seed, page, position) for position in range(count)],
        "info": {"seed": seed, "results": count, "page": page, "version": "1.4"},
    }, etag=True)

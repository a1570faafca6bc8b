#!/usr/bin/env python3
"""What a policy means, written from keybroker.policy(5) alone: a second mind to compare the broker's verdict with.

Reads questions from standard input and writes one answer for each, both as JSON, one a line. Must never be changed to
agree with the Swift code: where the two differ, the manual page decides, and if it says too little, the page is mended.
"""

import json
import re
import sys

KEY_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
# "The kernel shows the uid 65534 for accounts that it cannot express; that uid is never permitted", and so for groups.
NOBODY = 65534
NOT_AN_ID = 2**32 - 1
BOUNDS = {"connections": (1, 65536), "requests": (1, 1000000), "watches": (1, 65536)}


class Faulty(Exception):
    pass


class Line:
    """A permission: who, in which units, which keys."""

    def __init__(self, kind, ident, units, keys):
        self.kind, self.ident, self.units, self.keys = kind, ident, units, keys


def pattern(text):
    """A unit's name, in which * stands for any part, as a regular expression."""
    if not re.fullmatch(r"[A-Za-z0-9:_.\\@*-]+", text):
        raise Faulty("bad unit")
    if not re.search(r"(.\.service|.\.scope|\*)\Z", text):
        raise Faulty("bad unit")
    return re.compile("(?s:" + ".*".join(re.escape(part) for part in text.split("*")) + r")\Z")


def identity(word, machine):
    """('user', uid), ('group', gid) or ('unit', pattern). The number of an account that is not found is None."""
    if word.startswith("unit:"):
        return "unit", pattern(word[len("unit:") :])
    kind, name = ("group", word[1:]) if word.startswith(":") else ("user", word)
    if not name:
        raise Faulty("no name")
    if name.isdigit():
        number = int(name)
    else:
        number = machine[kind + "s"].get(name)
    if number is not None and number >= NOT_AN_ID:
        raise Faulty("no number of an account")
    return kind, number


class Policy:
    def __init__(self, text, machine):
        self.keys, self.lines, self.limits = set(), [], {}
        mentioned = set()
        for line in text.split("\n"):
            if len(line) > 1024 or re.search(r"[^\t\x20-\x7e]", line):
                raise Faulty("bad line")
            words = re.split(r"[ \t]+", line.split("#", 1)[0].strip(" \t"))
            if words == [""]:
                continue
            statement, rest = words[0], words[1:]
            if statement == "key":
                self.read_key(rest)
            elif statement == "permit":
                mentioned.update(self.read_permit(rest, machine))
            elif statement == "limit":
                self.read_limit(rest, machine)
            else:
                raise Faulty("unknown statement")
        if mentioned - self.keys:
            raise Faulty("a key that no line declares")

    def read_key(self, words):
        if len(words) not in (2, 4) or (len(words) == 4 and words[2] != "certificate"):
            raise Faulty("bad key line")
        if not KEY_NAME.match(words[0]) or words[0] in self.keys:
            raise Faulty("bad name, or declared twice")
        for path in words[1::2]:
            is_credential = re.fullmatch(r"credential:[^/]+", path) and path[11:] not in (".", "..")
            if not is_credential and not re.fullmatch(r"/.*[^/]", path):
                raise Faulty("bad path")
        self.keys.add(words[0])

    def read_permit(self, words, machine):
        if not words:
            raise Faulty("nobody")
        kind, ident = identity(words[0], machine)
        rest, units = words[1:], None
        if rest[:1] == ["unit"]:
            if kind == "unit" or len(rest) < 2:
                raise Faulty("two units, or none")
            units, rest = pattern(rest[1]), rest[2:]
        if rest[:1] != ["key"] or len(rest) < 2 or not all(KEY_NAME.match(name) for name in rest[1:]):
            raise Faulty("bad keys")
        # "An account that is not found costs its own line, and no other."
        if ident is not None:
            self.lines.append(Line(kind, ident, units, set(rest[1:])))
        return rest[1:]

    def read_limit(self, words, machine):
        if len(words) < 3 or len(words) % 2 == 0 or words[0].startswith("unit:"):
            raise Faulty("bad limit")
        who = ("each", None) if words[0] == "each-user" else identity(words[0], machine)
        for bound, text in zip(words[1::2], words[2::2]):
            if bound not in BOUNDS or not re.fullmatch(r"[0-9]+", text):
                raise Faulty("bad bound")
            low, high = BOUNDS[bound]
            if not low <= int(text) <= high or (who, bound) in self.limits:
                raise Faulty("out of range, or limited twice")
            if who[0] == "each" or who[1] is not None:
                self.limits[who, bound] = int(text)

    def is_permitted(self, caller, key):
        uid, unit = caller.get("uid"), caller.get("unit")
        if key not in self.keys or (uid is None and not caller.get("alone")) or uid == NOBODY:
            return False
        groups = set(caller.get("groups", [])) - {NOBODY}
        for line in self.lines:
            if key not in line.keys:
                continue
            if line.kind == "unit":
                if unit is not None and line.ident.match(unit):
                    return True
                continue
            is_named = uid == line.ident if line.kind == "user" else line.ident in groups
            if is_named and uid is not None:
                if line.units is None or (unit is not None and line.units.match(unit)):
                    return True
        return False

    def bound(self, caller, bound):
        """The first of: the line about the uid, the most generous about a group, each-user, none."""
        uid, groups = caller.get("uid"), set(caller.get("groups", [])) - {NOBODY}
        if uid is not None and uid != NOBODY:
            if (("user", uid), bound) in self.limits:
                return self.limits[("user", uid), bound]
            of_groups = [self.limits[("group", g), bound] for g in groups if (("group", g), bound) in self.limits]
            if of_groups:
                return max(of_groups)
        return self.limits.get((("each", None), bound))


def answer(question):
    try:
        policies = [Policy(text, question["machine"]) for text in question["policies"]]
    except Faulty as fault:
        return {"faulty": str(fault)}
    return {
        "permitted": [
            ["".join("1" if policy.is_permitted(caller, key) else "0" for key in question["keys"])
             for caller in question["callers"]]
            for policy in policies
        ],
        "bounds": [
            [[policy.bound(caller, bound) for bound in sorted(BOUNDS)] for caller in question["callers"]]
            for policy in policies
        ],
    }


for question in sys.stdin:
    print(json.dumps(answer(json.loads(question))), flush=True)

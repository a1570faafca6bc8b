#!/usr/bin/env python3
"""What a policy means by keybroker.policy(5): a second mind to compare the broker's verdict with.

A first form was written from the page alone and agrees, but for what the page then left open. This one was written
after the Swift code and an older model had been read.

Reads questions from standard input and writes one answer for each, both as JSON, one a line. Must never be changed to
agree with the Swift code: where the two differ, the manual page decides, and if it says too little, the page is mended.
"""

import json
import re
import sys
from collections import namedtuple

KEY_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
UNIT = re.compile(r"[A-Za-z0-9:_.\\@*-]+\Z")
UNIT_BYTES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.\\@-"
ENDINGS = (".service", ".scope")
NUMBER = re.compile(r"[0-9]+\Z")
# "The kernel shows the uid 65534 for accounts that it cannot express, and the gid 65534 for groups; that uid is never
# permitted, not by a group or a unit either, and that gid is no group of anybody's."
OVERFLOW = 65534
NOT_AN_ID = 2**32 - 1
BOUNDS = {"connections": (1, 65536), "requests": (1, 1000000), "watches": (1, 65536), "channels": (1, 4096)}

# kind: user, group, unit or anyone. value: an id or a pattern; None if the account is not found.
Identity = namedtuple("Identity", "kind value is_number")
Permit = namedtuple("Permit", "line identity unit keys is_status")
Never = namedtuple("Never", "identity keys unless")


class Faulty(Exception):
    pass


class Caller:
    """uid is None, and is_alone true, for a unit whatever account it runs as."""

    def __init__(self, uid, groups, unit, is_alone):
        self.uid, self.unit, self.is_alone = uid, unit, is_alone
        self.groups = set(groups) - {OVERFLOW}
        self.can_be_named = is_alone or uid not in (None, OVERFLOW)


def matches(pattern, unit):
    return re.fullmatch("(?s:" + ".*".join(map(re.escape, pattern.split("*"))) + ")", unit) is not None


def pattern(text):
    if not UNIT.match(text) or not re.search(r"(.\.service|.\.scope|\*)\Z", text):
        raise Faulty("bad unit")
    return text


def identity(word, machine):
    if word.startswith("unit:"):
        return Identity("unit", pattern(word[len("unit:") :]), False)
    kind, name = ("group", word[1:]) if word.startswith(":") else ("user", word)
    if not name:
        raise Faulty("no name")
    if NUMBER.match(name):
        if int(name) >= NOT_AN_ID:
            raise Faulty("no number of an account")
        return Identity(kind, int(name), True)
    return Identity(kind, machine[kind + "s"].get(name), False)


def names_nobody(who):
    return who.kind != "anyone" and (who.value is None or (who.kind in ("user", "group") and who.value == OVERFLOW))


def applies(who, caller):
    """Whether the caller is one of those whom the word is about."""
    if not caller.can_be_named or names_nobody(who):
        return False
    if who.kind == "anyone":
        return True
    if who.kind == "unit":
        return caller.unit is not None and matches(who.value, caller.unit)
    return not caller.is_alone and (who.value == caller.uid if who.kind == "user" else who.value in caller.groups)


class Policy:
    def __init__(self, text, machine):
        self.machine = machine
        self.keys, self.permits, self.nevers, self.limits = set(), [], [], {}
        self.mentioned = set()
        readers = {"key": self.key, "permit": self.permit, "limit": self.limit, "never": self.never}
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > 1024 or re.search(r"[^\t\x20-\x7e]", line):
                raise Faulty("bad line")
            words = re.findall(r"[^ \t]+", line.split("#", 1)[0])
            if words and words[0] not in readers:
                raise Faulty("unknown statement")
            if words:
                readers[words[0]](number, words[1:])
        if self.mentioned - self.keys:
            raise Faulty("a key that no line declares")
        for never in self.nevers:
            for permit in self.permits:
                if permit.keys & never.keys and conflict(permit, never):
                    raise Faulty("line %d permits what never must be permitted" % permit.line)

    def key(self, _, words):
        if len(words) not in (2, 4) or (len(words) == 4 and words[2] != "certificate"):
            raise Faulty("bad key line")
        if not KEY_NAME.match(words[0]) or words[0] in self.keys:
            raise Faulty("bad name, or declared twice")
        for path in words[1::2]:
            is_credential = re.fullmatch(r"credential:[^/]+", path) and path[11:] not in (".", "..")
            if not is_credential and not re.fullmatch(r"/.*[^/]", path):
                raise Faulty("bad path")
        self.keys.add(words[0])

    def names(self, words):
        """The keys that a line names, each of which has a line of its own."""
        if not words or not all(KEY_NAME.match(word) for word in words):
            raise Faulty("bad keys")
        self.mentioned.update(words)
        return set(words)

    def permit(self, number, words):
        if len(words) < 2:
            raise Faulty("bad permit")
        who, rest, unit = identity(words[0], self.machine), words[1:], None
        if rest == ["status"]:
            self.permits.append(Permit(number, who, None, set(), True))
            return
        if rest[0] == "unit":
            if who.kind == "unit" or len(rest) < 2:
                raise Faulty("two units, or none")
            unit, rest = pattern(rest[1]), rest[2:]
        if rest[:1] != ["key"]:
            raise Faulty("bad permit")
        self.permits.append(Permit(number, who, unit, self.names(rest[1:]), False))

    def never(self, _, words):
        if words[1:2] != ["key"]:
            raise Faulty("bad never")
        who = Identity("anyone", None, False) if words[0] == "anyone" else identity(words[0], self.machine)
        names, excepted = words[2:], []
        if "unless" in names:
            at = names.index("unless")
            names, excepted = names[:at], names[at + 1 :]
            if not excepted:
                raise Faulty("nobody after unless")
        self.nevers.append(Never(who, self.names(names), [identity(word, self.machine) for word in excepted]))

    def limit(self, _, words):
        if len(words) < 3 or len(words) % 2 == 0 or words[0].startswith("unit:"):
            raise Faulty("bad limit")
        who = ("each", None) if words[0] == "each-user" else identity(words[0], self.machine)[:2]
        for bound, text in zip(words[1::2], words[2::2]):
            if bound not in BOUNDS or not NUMBER.match(text):
                raise Faulty("bad bound")
            low, high = BOUNDS[bound]
            if not low <= int(text) <= high or (who, bound) in self.limits:
                raise Faulty("out of range, or limited twice")
            # A line about an account that is not found has no effect.
            if who[0] == "each" or who[1] is not None:
                self.limits[who, bound] = int(text)

    def line(self, caller, key):
        """The first line that permits the key, or the status if key is None. 0 if no line does."""
        for permit in self.permits:
            if (permit.is_status if key is None else key in permit.keys) and applies(permit.identity, caller):
                if permit.unit is None or (caller.unit is not None and matches(permit.unit, caller.unit)):
                    return permit.line
        return 0

    def excludes(self, caller, key):
        """Whether a never line says that the caller must not have the key."""
        return any(
            key in never.keys and applies(never.identity, caller)
            and not any(applies(who, caller) for who in never.unless)
            for never in self.nevers
        )

    def bound(self, caller, bound):
        """The first of: the line about the uid, the most generous about a group, each-user, none."""
        if caller.can_be_named and not caller.is_alone:
            named = {("group", gid) for gid in caller.groups}
            if (("user", caller.uid), bound) in self.limits:
                return self.limits[("user", caller.uid), bound]
            of_groups = [n for (who, b), n in self.limits.items() if b == bound and who in named]
            if of_groups:
                return max(of_groups)
        return self.limits.get((("each", None), bound))


def conflict(permit, never):
    """Whether there can be a caller whom the one permits, whom the other is about, and whom no `unless` excepts."""
    sides = (permit.identity, never.identity)
    if any(names_nobody(who) for who in sides):
        return False
    for kind in ("user", "group"):
        # "It may be the same user: then the two lines are not compared."
        is_missing = any(who.kind == kind and who.value is None for who in never.unless)
        if is_missing and any(who.kind == kind and who.is_number for who in sides):
            return False
        wanted = {who.value for who in sides if who.kind == kind}
        # The caller is in the groups that the lines ask for, and in no other.
        if wanted & {who.value for who in never.unless if who.kind == kind}:
            return False
        if kind == "user" and len(wanted) > 1:
            return False
    wanted = [who.value for who in sides if who.kind == "unit"] + ([permit.unit] if permit.unit else [])
    return not wanted or some_unit(wanted, [who.value for who in never.unless if who.kind == "unit"]) is not None


def reach(pattern, places):
    """These places in a pattern, and those behind stars that stand for nothing."""
    found = set()
    for place in places:
        found.add(place)
        while place < len(pattern) and pattern[place] == "*":
            place += 1
            found.add(place)
    return frozenset(found)


def step(pattern, places, byte):
    following = {p for p in places if p < len(pattern) and pattern[p] == "*"}
    return reach(pattern, following | {p + 1 for p in places if p < len(pattern) and pattern[p] == byte})


def some_unit(wanted, unwanted):
    """The name of a unit that all of `wanted` match and none of `unwanted`, or None. All read the name together."""
    patterns = wanted + unwanted + ["*" + ending for ending in ENDINGS] + list(ENDINGS)
    used = set("".join(patterns)) - {"*"}
    # One byte stands for all that no pattern has.
    alphabet = sorted(used) + [byte for byte in UNIT_BYTES if byte not in used][:1]
    start = tuple(reach(pattern, {0}) for pattern in patterns)
    seen, front = {start}, [("", start)]
    while front:
        following = []
        for name, state in front:
            ends = [len(pattern) in places for pattern, places in zip(patterns, state)]
            is_unit = any(ends[-4:-2]) and not any(ends[-2:])
            if is_unit and all(ends[: len(wanted)]) and not any(ends[len(wanted) : -4]):
                return name
            for byte in alphabet:
                after = tuple(step(pattern, places, byte) for pattern, places in zip(patterns, state))
                if after not in seen and all(after[: len(wanted)]):
                    seen.add(after)
                    following.append((name + byte, after))
        front = following
    return None


def about(text, question):
    """What one policy says: why it is faulty, or for each caller the line that permits each key, and the status, and
    the bounds."""
    try:
        policy = Policy(text, question["machine"])
    except Faulty as fault:
        return {"faulty": str(fault)}
    callers = [
        Caller(c.get("uid"), c.get("groups", []), c.get("unit"), c.get("alone", False)) for c in question["callers"]
    ]
    return {
        "lines": [[policy.line(caller, key) for key in question["keys"] + [None]] for caller in callers],
        "excluded": [[policy.excludes(caller, key) for key in question["keys"]] for caller in callers],
        "bounds": [[policy.bound(caller, bound) for bound in sorted(BOUNDS)] for caller in callers],
    }


if __name__ == "__main__":
    for question in map(json.loads, sys.stdin):
        print(json.dumps([about(text, question) for text in question["policies"]]), flush=True)

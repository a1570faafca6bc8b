"""Verifies the chain of audit logs, oldest first: verify.py FILE... It was written from
keybroker-audit(5) alone."""
import gzip, hashlib, json, sys

chain, number = "0" * 64, 0
for path in sys.argv[1:]:
    with open(path, "rb") as log:
        content = log.read()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    if not content.endswith(b"\n"):
        sys.exit("%s: the last line is not whole" % path)
    for index, line in enumerate(content[:-1].split(b"\n")):
        where = "%s:%d" % (path, index + 1)
        record = json.loads(line)
        cut = line.rindex(b',"chain":')
        if index == 0 and record.get("previous", chain) != chain:
            sys.exit(where + ": does not follow from the file before")
        if record["seq"] != number + 1:
            sys.exit("%s: seq %d after %d" % (where, record["seq"], number))
        number = record["seq"]
        chain = hashlib.sha256(chain.encode("ascii") + line[:cut]).hexdigest()
        if record["chain"] != chain:
            sys.exit(where + ": the chain is broken")
print("%d records, head %s" % (number, chain))

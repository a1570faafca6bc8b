"""Reads FILE with the Python client as the key k, and writes to it meanwhile: changing.py FILE. Prints the error."""
import os
import sys

import keybroker

real = os.preadv


def preadv(descriptor, buffers, offset):
    count = real(descriptor, buffers, offset)
    if offset == 0:
        with open(sys.argv[1], "wb") as file:
            file.write(b"ANOTHER KEY..")
    return count


os.preadv = preadv
with keybroker.Key("k", 0, os.open(sys.argv[1], os.O_RDONLY), None) as key:
    try:
        key.read_key()
        print("it was read")
    except keybroker.UnusableFileError as error:
        print(error)

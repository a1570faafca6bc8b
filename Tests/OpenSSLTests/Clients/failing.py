#!/usr/bin/env python3
"""A program that signs with a key that it has loaded, and shows what is in OpenSSL's error queue.

failing.py FILE   Commands on standard input; each is answered by one line.
    sign: `signed`, or the texts of the errors
    socket PATH: where the broker is from now on
    free N: so many descriptors are free from now on
"""
import ctypes
import os
import resource
import sys

crypto = ctypes.CDLL("libcrypto.so.3")
for name in ["BIO_new_file", "PEM_read_bio_PrivateKey", "EVP_MD_CTX_new"]:
    getattr(crypto, name).restype = ctypes.c_void_p
crypto.ERR_get_error_all.restype = ctypes.c_ulong
pointer = ctypes.c_void_p
file = pointer(crypto.BIO_new_file(sys.argv[1].encode(), b"r"))
key = pointer(crypto.PEM_read_bio_PrivateKey(file, None, None, None))
crypto.BIO_free(file)
taken = []


def errors():
    text, flags, found = ctypes.c_char_p(), ctypes.c_int(), []
    while crypto.ERR_get_error_all(None, None, None, ctypes.byref(text), ctypes.byref(flags)):
        if text.value:
            found.append(text.value.decode())
    return found


def sign():
    crypto.ERR_clear_error()
    context = pointer(crypto.EVP_MD_CTX_new())
    signature, length = ctypes.create_string_buffer(1024), ctypes.c_size_t(1024)
    assert crypto.EVP_DigestSignInit_ex(context, None, b"SHA256", None, None, key, None) == 1
    is_signed = crypto.EVP_DigestSign(context, signature, ctypes.byref(length), b"message", ctypes.c_size_t(7)) == 1
    crypto.EVP_MD_CTX_free(context)
    return "signed" if is_signed else "; ".join(errors())


def free(count):
    for descriptor in taken:
        os.close(descriptor)
    taken.clear()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for _ in range(count):
        os.close(taken.pop())


print("ready", flush=True)
for line in sys.stdin:
    words = line.rstrip("\n").split(" ")
    if words[0] == "sign":
        print(sign(), flush=True)
    elif words[0] == "socket":
        os.environ["KEYBROKER_SOCKET"] = words[1]
        print("done", flush=True)
    elif words[0] == "free":
        free(int(words[1]))
        print("done", flush=True)

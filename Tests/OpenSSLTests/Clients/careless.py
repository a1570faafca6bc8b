#!/usr/bin/env python3
"""A program that ignores what OpenSSL refuses.

careless.py   Commands on standard input; each is answered by one line.
    load TYPE FILE: whether the key in the file is one of that type. Its decoder is freed afterwards
    sign FILE DIGEST [PARAMETER VALUE]...: signs `message` with an RSA key, into `signature`. Sets each parameter by itself, and
    says for each whether it was set
"""
import ctypes
import sys

crypto = ctypes.CDLL("libcrypto.so.3")
for name in ["BIO_new_file", "PEM_read_bio_PrivateKey", "EVP_MD_CTX_new", "OSSL_DECODER_CTX_new_for_pkey"]:
    getattr(crypto, name).restype = ctypes.c_void_p
pointer = ctypes.c_void_p


class Parameter(ctypes.Structure):
    _fields_ = [("key", ctypes.c_char_p), ("kind", ctypes.c_uint), ("data", ctypes.c_char_p),
                ("size", ctypes.c_size_t), ("returned", ctypes.c_size_t)]


def load(kind, file):
    key = pointer()
    decoder = pointer(crypto.OSSL_DECODER_CTX_new_for_pkey(
        ctypes.byref(key), b"PEM", None, kind.encode(), 0x87, None, None))
    bio = pointer(crypto.BIO_new_file(file.encode(), b"r"))
    crypto.OSSL_DECODER_from_bio(decoder, bio)
    crypto.OSSL_DECODER_CTX_free(decoder)
    crypto.BIO_free(bio)
    return int(key.value is not None)


def sign(file, digest, *settings):
    bio = pointer(crypto.BIO_new_file(file.encode(), b"r"))
    key = pointer(crypto.PEM_read_bio_PrivateKey(bio, None, None, None))
    crypto.BIO_free(bio)
    context, inner = pointer(crypto.EVP_MD_CTX_new()), pointer()
    assert crypto.EVP_DigestSignInit_ex(context, ctypes.byref(inner), digest.encode(), None, None, key, None) == 1
    results = []
    for name, value in zip(settings[::2], settings[1::2]):
        text = value.encode()
        parameters = (Parameter * 2)(Parameter(name.encode(), 4, text, len(text), 0), Parameter())
        results.append(crypto.EVP_PKEY_CTX_set_params(inner, parameters))
    with open("message", "rb") as source:
        message = source.read()
    signature, length = ctypes.create_string_buffer(1024), ctypes.c_size_t(1024)
    assert crypto.EVP_DigestSign(
        context, signature, ctypes.byref(length), message, ctypes.c_size_t(len(message))) == 1
    with open("signature", "wb") as target:
        target.write(signature.raw[:length.value])
    crypto.EVP_MD_CTX_free(context)
    crypto.EVP_PKEY_free(key)
    return " ".join(map(str, results))


print("ready", flush=True)
for line in sys.stdin:
    words = line.split()
    print({"load": load, "sign": sign}[words[0]](*words[1:]), flush=True)

"""Serializers and compressions of one's own, for messages and results; Kombu's signatures.

    register(name, encoder, decoder, content_type, content_encoding="utf-8")
    register_type(kind, marker, encoder, decoder)          a type that JSON shall carry
    register_compression(encoder, decoder, content_type, aliases)

All of it belongs to the process: call it in the module of the app, so that senders and workers know the same. What was
registered with Kombu, where that is loaded, is found without a word from here.
"""

from __future__ import annotations

from sedano.protocol.compression import compress, decompress
from sedano.protocol.compression import register as register_compression
from sedano.protocol.serializers import dumps, loads, register, register_type, unregister

__all__ = ["compress", "decompress", "dumps", "loads", "register", "register_compression", "register_type", "unregister"]

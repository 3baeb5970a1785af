"""One connection for all slots of a node: for brokers whose deliveries belong to the connection that got them.

    supervisor process                                          slot processes
      relay thread (server.py) ── owns ──► the broker             slot, lanes ── client.py: a `Broker` like any other
         ▲   ▲                                                          │
         │   └──────────── a Unix socket (protocol.py) ─────────────────┘
         └── keeper, reaper, commands: clients as well

The thread waits inside the broker's own `wait`, so that a driver answers heartbeats there whatever the slots do. It serves
whoever asks, one request after the other; `clients.py` has their sockets. `watch.py` knows the revokes and pauses, of which
such a broker knows nothing. `doors.py` says where a node's relays are.
"""

"""The fault matrix: store x pool x ack mode x fault, with thousands of calls that are recorded outside of the store.

    ./dev faults                          the whole matrix; writes the tables of docs/reliability.md
    ./dev faults --quick                  fewer calls and faults, writes nothing
    ./dev faults --store redis --fault kill-slot

`shapes` says which stores, pools and faults there are; a pool joins with one line in `POOLS`. `stage` is one cell: a store, two
nodes, a client that keeps sending. `cell` runs one in a process of its own and prints what it found, `table` writes it down.
"""

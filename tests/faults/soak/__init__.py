"""The soak: a mixture of calls for a long time, a kill every few seconds, and nothing may be lost or grow.

    ./dev soak                             an hour on redis and on sqlite, at the same time
    ./dev soak --minutes 10 --store redis

`mixture` says what is sent and what must become of it, `chaos` who is killed, `gauges` what is measured and when it is flat.
"""

"""The Totem single ring, pure: events and the time go in, effects come out.

    ring            the four states; the machine that drivers feed
    agreement       GATHER: who will be in the next ring         membership, lives   its arithmetic
    formation       COMMIT and RECOVERY: the next ring forms     recovery            who owes whom which frames
    circulation     the token comes and goes                     ordering, window, flow   what it carries
    delivery        frames become what is handed up              fragments           payloads into frames and back
    intake, seal    datagrams in, authenticated                  contacts            who hears this node
    events, packets, timers, timeouts                            the vocabulary
"""

"""The Totem single ring, pure: events and the time go in, effects come out.

ring: the four states, the machine that drivers feed. agreement (GATHER; its arithmetic is membership and lives).
formation (COMMIT and RECOVERY; who owes whom which frames is recovery). circulation (the token comes and goes; what
it carries is ordering, window and flow). delivery and fragments (payloads into frames and back). intake and seal
(datagrams in, authenticated). contacts (who hears this node). events, packets, timers, timeouts (the vocabulary).
"""

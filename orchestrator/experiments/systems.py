"""The I/O systems that forward datagrams, as experiments name them."""

SYSTEMS = {
    "linux": "what Unix programs do: one datagram for each recv and send",
    "linux-batch": "the best conventional code of today: recvmmsg and sendmmsg",
    "copy": "conventional semantics, private buffers, on the user-space stack of shipping",
    "shipping": "containers move from owner to owner, unmapped and never copied",
}

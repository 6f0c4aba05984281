# pragma version ~=0.4.3
# @title Newest cosigned checkpoint of each log, in the order in which a consortium's chain saw them
# @notice Nothing but hashes and sizes is here. Whoever owns the contract says who writes for which log.
# @license GPL-2.0-or-later

event Checkpoint:
    origin: indexed(bytes32)  # SHA-256 of the log's origin
    size: indexed(uint64)
    root: bytes32
    note: bytes32  # SHA-256 of the cosigned checkpoint

struct Head:
    size: uint64
    root: bytes32
    height: uint64

owner: public(address)
writers: public(HashMap[bytes32, address])
heads: public(HashMap[bytes32, Head])

@deploy
def __init__():
    self.owner = msg.sender

@external
def enroll(origin: bytes32, writer: address):
    assert msg.sender == self.owner, "owner"
    self.writers[origin] = writer

@external
def anchor(origin: bytes32, size: uint64, root: bytes32, note: bytes32):
    assert msg.sender == self.writers[origin], "writer"
    assert size > self.heads[origin].size, "rollback"
    self.heads[origin] = Head(size=size, root=root, height=convert(block.number, uint64))
    log Checkpoint(origin=origin, size=size, root=root, note=note)

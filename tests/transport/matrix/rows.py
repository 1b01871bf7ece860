"""The fault matrix: what a server, a network or a proxy can do wrong, and what has to come of it.

Each row has tests marked `@pytest.mark.row(number)`; `test_complete.py` fails when one has none, and the test run ends
with the table (`report.py`)."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One fault and what is expected of the client."""

    fault: str
    expected: str


ROWS: dict[int, Row] = {
    1: Row("TCP refused or unreachable at every address", "ConnectFailed, with the addresses"),
    2: Row("SYN without an answer", "ConnectFailed in time, or the deadline"),
    3: Row("name not found; resolver that hangs", "ConnectFailed; the deadline"),
    4: Row("IPv6 dead, IPv4 alive", "the call succeeds"),
    5: Row("certificate: unknown CA, expired, other host, self-signed", "TlsFailed with the reason, no retry"),
    6: Row("client certificate missing or refused", "TlsFailed"),
    7: Row("TLS handshake stalls; plain text or garbage instead", "TlsFailed in time or at once"),
    8: Row("ALPN: none or http/1.1", "NotHttp2"),
    9: Row("HTTP/1.1 in answer to the preface", "NotHttp2 with the status line, at once"),
    10: Row("noise, a banner, or another frame before SETTINGS", "ProtocolViolation or NotHttp2"),
    11: Row("connection accepted, then silence", "UNAVAILABLE in time, back-off"),
    12: Row("SETTINGS never acknowledged", "UNAVAILABLE in time"),
    13: Row("proxy: 407, 502, silence, huge header", "ConnectFailed"),
    14: Row("FIN before the response; TCP reset in mid-stream", "ConnectionLost after what came before"),
    15: Row("FIN inside a prefix, a message, a frame", "ConnectionLost, no partial message"),
    16: Row("END_STREAM inside a message, no trailers", "ProtocolViolation"),
    17: Row("END_STREAM after a message, no trailers", "UNKNOWN"),
    18: Row("frame longer than MAX_FRAME_SIZE", "refused by its header: FRAME_SIZE_ERROR"),
    19: Row("message of 4 GiB, or over the limit", "MessageTooLarge, RST_STREAM CANCEL"),
    20: Row("gzip: bomb, truncated, trailing junk, undeclared", "MessageTooLarge; DecodeFailed"),
    21: Row("HPACK bomb; header list too large", "connection ended, bounded memory"),
    22: Row("CONTINUATION without end", "ProtocolViolation"),
    23: Row("HPACK: invalid index, integer overflow", "COMPRESSION_ERROR"),
    24: Row("SETTINGS or PING flood while we cannot write", "ENHANCE_YOUR_CALM"),
    25: Row("empty DATA, 1xx or WINDOW_UPDATE flood", "ended, the loop stays responsive"),
    26: Row("RST_STREAM, each code in each phase", "its status; refused is sent again"),
    27: Row("every stream refused", "UNAVAILABLE after a few tries"),
    28: Row("RST_STREAM or DATA for an idle or closed stream", "idle: PROTOCOL_ERROR; closed: ignored"),
    29: Row("the answer comes while we upload or are parked", "the server's status, upload stops"),
    30: Row("GOAWAY (max_age) in mid-stream", "the stream runs on, new calls elsewhere"),
    31: Row("GOAWAY below some streams", "those are sent again, others complete"),
    32: Row("GOAWAY with FIN; GOAWAY whose last id rises", "sent again or lost; ProtocolViolation"),
    33: Row("GOAWAY too_many_pings", "UNAVAILABLE, a warning, fewer PINGs"),
    34: Row("window of 0, or never given back", "parked until deadline or cancel"),
    35: Row("window cut, raised, overflowing, updated by 0", "resumes; FLOW_CONTROL or PROTOCOL error"),
    36: Row("MAX_CONCURRENT_STREAMS 0, 1, lowered", "calls queue in order, deadlines hold"),
    37: Row("more DATA than our window", "FLOW_CONTROL_ERROR"),
    38: Row("grpc-status or grpc-message malformed", "UNKNOWN or as told; always an RpcError"),
    39: Row("frames of a response in the wrong order", "ProtocolViolation of the stream only"),
    40: Row("malformed header fields; wrong content-length", "ProtocolViolation of the stream only"),
    41: Row("PUSH_PROMISE, bad padding, DATA on 0; unknown frames", "ProtocolViolation; ignored"),
    42: Row("one byte at a time, without end", "the deadline"),
    43: Row("peer gone without a word", "KeepaliveTimeout"),
    44: Row("peer stops reading", "send parks and can be cancelled, no half frame"),
    45: Row("HTML or another content-type; HTTP errors; redirects", "the status of HTTP's, body quoted in part"),
    46: Row("gRPC-Web: trailers missing, twice, followed by data; bad base64", "ProtocolViolation"),
    47: Row("Connect: error or end of stream malformed, huge, compressed", "the status of HTTP's; bounded"),
    48: Row("token exchange: 400, 401, 403", "UNAUTHENTICATED, one attempt for all waiters"),
    49: Row("token exchange: 429 with Retry-After", "waited for once, within a minute, else RESOURCE_EXHAUSTED"),
    50: Row("token exchange: 500, 502, timeout, reset", "tried again, then UNAVAILABLE"),
    51: Row("token exchange: malformed or huge answer", "INTERNAL, bounded"),
    52: Row("clock skew; wall clock jumps", "one refresh, one retry where safe"),
    53: Row("100 calls with an expired token; first waiter cancelled", "one exchange, the others served"),
    54: Row("fork; loop closed under a client; exit in mid-call", "child works, clear errors, no hang"),
    55: Row("task cancelled at every await", "no slot, byte, stream or task lost"),
}

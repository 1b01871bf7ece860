// Node's own HTTP/2 server, with the routes of tests/interop/asgi.py. Prints its port; ends with its standard input.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const http2 = require("http2");
const zlib = require("zlib");

let cancelled = 0;

function send(stream, body, headers = {}) {
  stream.respond({ ":status": 200, ...headers });
  stream.end(body);
}

const routes = {
  "/hello": (stream) => send(stream, "hello", { "content-length": 5, "x-many": ["a", "b"] }),
  "/gzip": (stream) => send(stream, zlib.gzipSync("packed ".repeat(100)), { "content-encoding": "gzip" }),
  "/redirect": (stream) => send(stream, "", { ":status": 302, location: "/hello" }),
  "/teapot": (stream) => send(stream, "short and stout", { ":status": 418 }),
  "/nothing": (stream) => stream.respond({ ":status": 204 }, { endStream: true }),
  "/headers": (stream, url, headers) => send(stream, JSON.stringify(headers)),
  "/cancelled": (stream) => send(stream, String(cancelled)),
  "/big": (stream, url) => {
    stream.respond({ ":status": 200 });
    let left = Number(url.searchParams.get("size"));
    const more = () => {
      while (left > 0) {
        const piece = Math.min(left, 1 << 16);
        left -= piece;
        if (!stream.write(Buffer.alloc(piece, 0x78))) return stream.once("drain", more);
      }
      stream.end();
    };
    more();
  },
  "/echo": (stream) => {
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  },
  "/sum": (stream) => {
    const hash = crypto.createHash("sha256");
    stream.on("data", (data) => hash.update(data));
    stream.on("end", () => send(stream, hash.digest("hex")));
  },
  "/trailers": (stream) => {
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-checksum": "abc" }));
    stream.end("body");
  },
  "/early": (stream) => {
    stream.additionalHeaders({ ":status": 103, link: "</style.css>; rel=preload" });
    send(stream, "after hints");
  },
  "/reset": (stream) => {
    stream.respond({ ":status": 200 });
    stream.write("some", () => stream.destroy(new Error("as asked")));
  },
  "/silent": (stream) => stream.on("close", () => (cancelled += 1)),
  "/refuse-body": (stream) => send(stream, "too much", { ":status": 413 }),
};

const [certificate] = process.argv.slice(2);
const pem = certificate && fs.readFileSync(certificate);
const server = pem ? http2.createSecureServer({ key: pem, cert: pem }) : http2.createServer();
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  const url = new URL(headers[":path"], "http://localhost");
  const route = routes[url.pathname];
  if (route) route(stream, url, headers);
  else send(stream, "not here", { ":status": 404 });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();

// @grpc/grpc-js as a server of the interoperation tests: raw bytes as messages. Prints its port, and serves until its
// standard input ends.
"use strict";

const grpc = require("@grpc/grpc-js");

const raw = (bytes) => bytes;

function method(name, requestStream, responseStream) {
  return {
    path: `/test.Echo/${name}`,
    requestStream,
    responseStream,
    requestSerialize: raw,
    requestDeserialize: raw,
    responseSerialize: raw,
    responseDeserialize: raw,
  };
}

const service = {
  Echo: method("Echo", false, false),
  Fail: method("Fail", false, false),
  Wait: method("Wait", false, false),
  Count: method("Count", false, true),
  Join: method("Join", true, false),
  Chat: method("Chat", true, true),
};

// google.rpc.Status with one detail, as google.protobuf.Any: StringValue "detail".
function status(code, message) {
  const field = (tag, bytes) => Buffer.concat([Buffer.from([tag, bytes.length]), bytes]);
  const kind = Buffer.from("type.googleapis.com/google.protobuf.StringValue");
  const any = Buffer.concat([field(0x0a, kind), field(0x12, Buffer.from("\n\x06detail"))]);
  return Buffer.concat([Buffer.from([0x08, code]), field(0x12, Buffer.from(message)), field(0x1a, any)]);
}

let cancelled = 0;

// The answer of Echo: what the server knows, where it is asked for that.
function told(call) {
  const request = call.request.toString("latin1");
  if (request === "cancelled") return Buffer.from(String(cancelled));
  if (request === "deadline") return Buffer.from(String(Number.isFinite(Number(call.getDeadline()))));
  return call.request;
}

function echo(call, callback) {
  const back = new grpc.Metadata();
  for (const key of Object.keys(call.metadata.getMap())) {
    if (key.startsWith("x-")) {
      for (const value of call.metadata.get(key)) back.add(key, value);
    }
  }
  call.sendMetadata(back);
  const trailers = new grpc.Metadata();
  trailers.set("x-trailer", "t");
  trailers.set("x-trailer-bin", Buffer.from([0xff, 0]));
  callback(null, told(call), trailers);
}

function fail(call, callback) {
  const metadata = new grpc.Metadata();
  metadata.set("x-why", "because");
  const [code, message] = [call.request[0], call.request.subarray(1).toString()];
  metadata.set("grpc-status-details-bin", status(code, message));
  callback({ code, details: message, metadata });
}

async function count(call) {
  const [number, size] = call.request.toString().split(" ").map(Number);
  for (let index = 0; index < number; index++) {
    const item = Buffer.alloc(4 + size);
    item.writeUInt32BE(index);
    if (!call.write(item)) await new Promise((resolve) => call.once("drain", resolve));
  }
  call.end();
}

function join(call, callback) {
  let messages = 0;
  let total = 0;
  call.on("data", (request) => {
    messages += 1;
    total += request.length;
  });
  call.on("end", () => callback(null, Buffer.from(`${messages} ${total}`)));
}

function chat(call) {
  call.on("data", (request) => {
    if (request.equals(Buffer.from("fail"))) {
      call.emit("error", { code: grpc.status.ABORTED, details: "as asked" });
    } else {
      call.write(request);
    }
  });
  call.on("end", () => call.end());
}

const server = new grpc.Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
server.addService(service, {
  Echo: echo,
  Fail: fail,
  Wait: (call) => call.on("cancelled", () => (cancelled += 1)),
  Count: count,
  Join: join,
  Chat: chat,
});
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
process.stdin.on("end", () => process.exit(0)).resume();

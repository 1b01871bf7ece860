// Command bench-server answers the RPCs that the benchmark makes, from bytes prepared beforehand where it can, so that
// the client under measure is the slow side. It knows no state and asks for no credential: an instrument, not a service.
//
// It listens on a free port of the loopback interface and prints the port when it is ready.
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

const mib = 1 << 20

// message is a protobuf message as it stands on the wire.
type message struct{ bytes []byte }

// wire is a codec that leaves messages as they are.
type wire struct{}

func (wire) Name() string { return "proto" }

func (wire) Marshal(value any) ([]byte, error) { return value.(*message).bytes, nil }

func (wire) Unmarshal(data []byte, value any) error {
	value.(*message).bytes = data
	return nil
}

// text appends a length-delimited field.
func text(out []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(out, number, protowire.BytesType), value)
}

// number appends a varint field.
func number(out []byte, field protowire.Number, value int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(out, field, protowire.VarintType), uint64(value))
}

// field finds a length-delimited field; nil where there is none.
func field(data []byte, wanted protowire.Number) []byte {
	for len(data) > 0 {
		found, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return nil
		}
		data = data[size:]
		if found == wanted && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(data)
			return value
		}
		size = protowire.ConsumeFieldValue(found, kind, data)
		if size < 0 {
			return nil
		}
		data = data[size:]
	}
	return nil
}

// machine is a GetVmResponse.
func machine(index int) []byte {
	out := text(nil, 1, fmt.Appendf(nil, "vm-%06d", index))
	out = text(out, 2, fmt.Appendf(nil, "machine-%d", index))
	out = text(out, 3, []byte("ubuntu:latest"))
	out = text(out, 4, []byte("203.0.113.7"))
	out = text(out, 5, []byte("running"))
	out = text(out, 6, []byte("always"))
	out = number(out, 7, 100<<30)
	return number(out, 8, 300)
}

// machines is a ListVmsResponse.
func machines(count int) []byte {
	var out []byte
	for index := range count {
		out = text(out, 1, machine(index))
	}
	return out
}

// size reads the last part of a path, "/home/boxd/1048576", as a number of bytes.
func size(path []byte) (int, error) {
	name := string(path)
	return strconv.Atoi(name[strings.LastIndex(name, "/")+1:])
}

// next receives a message; nil at the end of the request.
func next(stream grpc.ServerStream) ([]byte, error) {
	in := new(message)
	if err := stream.RecvMsg(in); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if in.bytes == nil {
		in.bytes = []byte{}
	}
	return in.bytes, nil
}

// drain receives the rest of a request and counts the bytes in one of its fields.
func drain(stream grpc.ServerStream, first []byte, wanted protowire.Number) (int, error) {
	total := 0
	for data := first; data != nil; {
		total += len(field(data, wanted))
		var err error
		if data, err = next(stream); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// download sends a file of zeros in chunks of a mebibyte.
func download(stream grpc.ServerStream, left int) error {
	head := number(nil, 1, left)
	zeros := make([]byte, mib)
	for {
		chunk := zeros[:min(left, mib)]
		if err := stream.SendMsg(&message{text(head, 2, chunk)}); err != nil {
			return err
		}
		if left -= len(chunk); left == 0 {
			return nil
		}
	}
}

// exec runs one of three commands: "out SIZE COUNT" writes, "cat" echoes, "hold" waits for the end of its input.
func exec(stream grpc.ServerStream, first []byte) error {
	words := strings.Fields(string(field(first, 4)))
	if len(words) == 0 {
		return status.Error(codes.InvalidArgument, "no command")
	}
	switch {
	case words[0] == "out" && len(words) == 3:
		length, _ := strconv.Atoi(words[1])
		count, _ := strconv.Atoi(words[2])
		chunk := &message{text(nil, 1, make([]byte, length))}
		for range count {
			if err := stream.SendMsg(chunk); err != nil {
				return err
			}
		}
	case words[0] == "cat" || words[0] == "hold":
		for {
			data, err := next(stream)
			if err != nil {
				return err
			}
			if data == nil {
				break
			}
			if words[0] == "hold" {
				continue
			}
			if err := stream.SendMsg(&message{text(nil, 1, field(data, 1))}); err != nil {
				return err
			}
		}
	}
	return stream.SendMsg(&message{number(nil, 6, 0)})
}

func serve(_ any, stream grpc.ServerStream) error {
	path, _ := grpc.MethodFromServerStream(stream)
	first, err := next(stream)
	if err != nil {
		return err
	}
	switch name := path[strings.LastIndex(path, "/")+1:]; name {
	case "Whoami":
		return stream.SendMsg(&message{text(text(nil, 1, []byte("user")), 3, []byte("net-1"))})
	case "GetVm":
		return stream.SendMsg(&message{machine(1)})
	case "ListVms":
		count, _ := strconv.Atoi(string(field(first, 1)))
		return stream.SendMsg(&message{machines(count)})
	case "UploadFile":
		return stream.SendMsg(&message{number(nil, 1, len(field(first, 3)))})
	case "UploadFileStream":
		total, err := drain(stream, first, 4)
		if err != nil {
			return err
		}
		return stream.SendMsg(&message{number(nil, 1, total)})
	case "DownloadFile", "DownloadFileStream":
		length, err := size(field(first, 2))
		if err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		if name == "DownloadFile" {
			return stream.SendMsg(&message{text(nil, 1, make([]byte, length))})
		}
		return download(stream, length)
	case "Exec":
		return exec(stream, first)
	default:
		return status.Error(codes.Unimplemented, name)
	}
}

func main() {
	encoding.RegisterCodec(wire{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(
		grpc.UnknownServiceHandler(serve),
		grpc.MaxRecvMsgSize(1<<30),
		grpc.MaxSendMsgSize(1<<30),
		grpc.InitialWindowSize(4*mib),
		grpc.InitialConnWindowSize(16*mib),
	)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(server.Serve(listener))
}

// The servers that the interoperation tests talk to: grpc-go, and connect-go (gRPC, gRPC-Web and Connect, over HTTP/1.1
// and HTTP/2 without TLS). Messages are raw bytes. Prints two ports, and serves until its standard input ends.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const service = "/test.Echo/"

// raw is a message: its bytes.
type raw struct{ data []byte }

type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(message any) ([]byte, error) {
	if found, ok := message.(*raw); ok {
		return found.data, nil
	}
	return proto.Marshal(message.(proto.Message)) // The status of a gRPC error.
}

func (codec) Unmarshal(data []byte, message any) error {
	if found, ok := message.(*raw); ok {
		found.data = append([]byte(nil), data...)
		return nil
	}
	return proto.Unmarshal(data, message.(proto.Message))
}

// item is one message of Count: its number, then zeros.
func item(index, size int) *raw {
	data := make([]byte, 4+size)
	binary.BigEndian.PutUint32(data, uint32(index))
	return &raw{data}
}

// sizes reads "number size".
func sizes(request *raw) (number, size int, err error) {
	_, err = fmt.Sscanf(string(request.data), "%d %d", &number, &size)
	return
}

// cancelled is how many calls of Wait have ended.
var cancelled atomic.Int64

// told is the answer of Echo: what the server knows, where it is asked for that.
func told(ctx context.Context, request *raw) *raw {
	switch string(request.data) {
	case "cancelled":
		return &raw{[]byte(fmt.Sprint(cancelled.Load()))}
	case "deadline":
		_, has := ctx.Deadline()
		return &raw{[]byte(fmt.Sprint(has))}
	}
	return request
}

// grpc-go

func serve(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	call, known := map[string]func(grpc.ServerStream) error{
		"Echo": echo, "Fail": fail, "Wait": wait, "Count": count, "Join": join, "Chat": chat,
	}[strings.TrimPrefix(name, service)]
	if !known {
		return status.Error(codes.Unimplemented, "no such method")
	}
	return call(stream)
}

func echo(stream grpc.ServerStream) error {
	var request raw
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	sent, _ := metadata.FromIncomingContext(stream.Context())
	back := metadata.MD{}
	for key, values := range sent {
		if strings.HasPrefix(key, "x-") {
			back[key] = values
		}
	}
	if err := stream.SetHeader(back); err != nil {
		return err
	}
	stream.SetTrailer(metadata.Pairs("x-trailer", "t", "x-trailer-bin", "\xff\x00"))
	return stream.SendMsg(told(stream.Context(), &request))
}

func fail(stream grpc.ServerStream) error {
	var request raw
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	stream.SetTrailer(metadata.Pairs("x-why", "because"))
	found := status.New(codes.Code(request.data[0]), string(request.data[1:]))
	detailed, err := found.WithDetails(wrapperspb.String("detail"))
	if err != nil {
		return err
	}
	return detailed.Err()
}

func wait(stream grpc.ServerStream) error {
	<-stream.Context().Done()
	cancelled.Add(1)
	return stream.Context().Err()
}

func count(stream grpc.ServerStream) error {
	var request raw
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	number, size, err := sizes(&request)
	for index := 0; index < number && err == nil; index++ {
		err = stream.SendMsg(item(index, size))
	}
	return err
}

func join(stream grpc.ServerStream) error {
	messages, total := 0, 0
	for {
		var request raw
		err := stream.RecvMsg(&request)
		if errors.Is(err, io.EOF) {
			return stream.SendMsg(&raw{fmt.Appendf(nil, "%d %d", messages, total)})
		}
		if err != nil {
			return err
		}
		messages, total = messages+1, total+len(request.data)
	}
}

func chat(stream grpc.ServerStream) error {
	for {
		var request raw
		err := stream.RecvMsg(&request)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if string(request.data) == "fail" {
			return status.Error(codes.Aborted, "as asked")
		}
		if err := stream.SendMsg(&request); err != nil {
			return err
		}
	}
}

// connect-go

func connectMux() *http.ServeMux {
	mux := http.NewServeMux()
	options := connect.WithHandlerOptions(connect.WithCodec(codec{}))
	handle := func(name string, handler *connect.Handler) { mux.Handle(service+name, handler) }
	handle("Echo", connect.NewUnaryHandler(service+"Echo", connectEcho, options))
	handle("Fail", connect.NewUnaryHandler(service+"Fail", connectFail, options))
	handle("Wait", connect.NewUnaryHandler(service+"Wait", connectWait, options))
	handle("Count", connect.NewServerStreamHandler(service+"Count", connectCount, options))
	handle("Join", connect.NewClientStreamHandler(service+"Join", connectJoin, options))
	handle("Chat", connect.NewBidiStreamHandler(service+"Chat", connectChat, options))
	return mux
}

func connectEcho(ctx context.Context, request *connect.Request[raw]) (*connect.Response[raw], error) {
	response := connect.NewResponse(told(ctx, request.Msg))
	for key, values := range request.Header() {
		if strings.HasPrefix(strings.ToLower(key), "x-") {
			response.Header()[key] = values
		}
	}
	response.Trailer().Set("x-trailer", "t")
	response.Trailer().Set("x-trailer-bin", connect.EncodeBinaryHeader([]byte{0xff, 0}))
	return response, nil
}

func connectFail(_ context.Context, request *connect.Request[raw]) (*connect.Response[raw], error) {
	failure := connect.NewError(connect.Code(request.Msg.data[0]), errors.New(string(request.Msg.data[1:])))
	detail, err := connect.NewErrorDetail(wrapperspb.String("detail"))
	if err != nil {
		return nil, err
	}
	failure.AddDetail(detail)
	failure.Meta().Set("x-why", "because")
	return nil, failure
}

func connectWait(ctx context.Context, _ *connect.Request[raw]) (*connect.Response[raw], error) {
	<-ctx.Done()
	cancelled.Add(1)
	return nil, ctx.Err()
}

func connectCount(_ context.Context, request *connect.Request[raw], stream *connect.ServerStream[raw]) error {
	number, size, err := sizes(request.Msg)
	for index := 0; index < number && err == nil; index++ {
		err = stream.Send(item(index, size))
	}
	return err
}

func connectJoin(_ context.Context, stream *connect.ClientStream[raw]) (*connect.Response[raw], error) {
	messages, total := 0, 0
	for stream.Receive() {
		messages, total = messages+1, total+len(stream.Msg().data)
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	return connect.NewResponse(&raw{fmt.Appendf(nil, "%d %d", messages, total)}), nil
}

func connectChat(_ context.Context, stream *connect.BidiStream[raw, raw]) error {
	for {
		request, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if string(request.data) == "fail" {
			return connect.NewError(connect.CodeAborted, errors.New("as asked"))
		}
		if err := stream.Send(request); err != nil {
			return err
		}
	}
}

func listen() (net.Listener, int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	return listener, listener.Addr().(*net.TCPAddr).Port
}

func main() {
	grpcListener, grpcPort := listen()
	grpcServer := grpc.NewServer(grpc.ForceServerCodec(codec{}), grpc.UnknownServiceHandler(serve))
	go func() { panic(grpcServer.Serve(grpcListener)) }()

	connectListener, connectPort := listen()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	connectServer := &http.Server{Handler: connectMux(), Protocols: &protocols}
	go func() { panic(connectServer.Serve(connectListener)) }()

	fmt.Println(grpcPort, connectPort)
	io.Copy(io.Discard, os.Stdin)
}

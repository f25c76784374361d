package service

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serve starts a server and returns a connection to it, and a function that stops it and returns its error.
func serve(t *testing.T, handler http.Handler, limits Limits) (net.Conn, func() error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, listener, handler, limits, slog.New(slog.DiscardHandler)) }()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection, func() error {
		cancel()
		return <-ended
	}
}

func send(t *testing.T, connection net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(connection, text); err != nil {
		t.Fatal(err)
	}
}

func TestASlowCallerIsDisconnected(t *testing.T) {
	limits := DefaultLimits
	limits.Read = 50 * time.Millisecond
	for start, want := range map[string]string{
		"POST /items HTTP/1.1\r\n":                                        "",
		"POST /items HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{": "HTTP/1.1 408",
	} {
		connection, stop := serve(t, itemRoutes(NewItemStore()), limits)
		send(t, connection, start)
		answer, err := io.ReadAll(connection) // until the server closes the connection
		if err != nil || !strings.HasPrefix(string(answer), want) {
			t.Errorf("got %q and %v, expected %s", answer, err, want)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestAStopWaitsForRequestsUntilTheLimit(t *testing.T) {
	limits := DefaultLimits
	limits.Shutdown = 50 * time.Millisecond
	entered := make(chan struct{})
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	connection, stop := serve(t, handler, limits)
	send(t, connection, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAStopFinishesRequests(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-finish
		w.WriteHeader(http.StatusTeapot)
	})
	connection, stop := serve(t, handler, DefaultLimits)
	send(t, connection, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	close(finish)
	answer := make([]byte, len("HTTP/1.1 418"))
	if _, err := io.ReadFull(connection, answer); err != nil || string(answer) != "HTTP/1.1 418" {
		t.Errorf("got %q and %v", answer, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

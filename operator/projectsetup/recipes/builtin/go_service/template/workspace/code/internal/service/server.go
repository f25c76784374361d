package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits keep slow callers from holding connections, and from delaying a stop.
type Limits struct {
	Read     time.Duration // to receive a request
	Write    time.Duration // to answer it
	Idle     time.Duration // between two requests on a connection
	Shutdown time.Duration // to finish the current requests
}

// DefaultLimits are those of the documentation.
var DefaultLimits = Limits{
	Read:     30 * time.Second,
	Write:    60 * time.Second, // counts from the end of the headers, so it includes the body
	Idle:     60 * time.Second,
	Shutdown: 10 * time.Second,
}

// Serve answers requests until the context ends, then finishes the current ones within the limit.
func Serve(
	ctx context.Context, listener net.Listener, handler http.Handler, limits Limits, logger *slog.Logger,
) error {
	server := &http.Server{
		Handler:      handler,
		ReadTimeout:  limits.Read,
		WriteTimeout: limits.Write,
		IdleTimeout:  limits.Idle,
		ErrorLog:     slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.Background(), limits.Shutdown)
	defer cancel()
	err := server.Shutdown(limit)
	if errors.Is(err, context.DeadlineExceeded) {
		logger.Warn("stopped before all requests were finished")
		return server.Close()
	}
	return err
}

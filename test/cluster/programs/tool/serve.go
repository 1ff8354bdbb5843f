package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// serve opens every socket named by its arguments (`http:8080`, `tcp:5432`, `udp:8081`, on all addresses) and answers: HTTP with the
// host's name and the client's address, TCP and UDP with what was sent. It ends on SIGTERM.
func serve(args []string) error {
	if len(args) == 0 {
		return errors.New("name at least one socket, such as http:8080")
	}
	failed := make(chan error, len(args))
	for _, arg := range args {
		kind, port, _ := strings.Cut(arg, ":")
		start, ok := servers[kind]
		if !ok {
			return fmt.Errorf("%q: the kind must be http, tcp or udp", arg)
		}
		go func() { failed <- start(net.JoinHostPort("", port)) }()
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	select {
	case <-stop:
		return nil
	case err := <-failed:
		return err
	}
}

var servers = map[string]func(address string) error{"http": serveHTTP, "tcp": serveTCP, "udp": serveUDP}

// serveHTTP answers `GET /` with two lines, `POST /` with the number of bytes it got, `GET /bytes/N` with N bytes.
func serveHTTP(address string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /bytes/{count}", func(w http.ResponseWriter, r *http.Request) {
		var count int64
		if _, err := fmt.Sscan(r.PathValue("count"), &count); err != nil || count < 0 || count > 1<<30 {
			http.Error(w, "a number of bytes is needed", http.StatusBadRequest)
			return
		}
		_, _ = io.CopyN(w, zeros{}, count)
	})
	routes.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		received, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s\nclient %s\nreceived %d\n", name, r.RemoteAddr, received)
	})
	return http.ListenAndServe(address, routes)
}

type zeros struct{}

func (zeros) Read(into []byte) (int, error) {
	clear(into)
	return len(into), nil
}

func serveTCP(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			_, _ = io.Copy(connection, connection)
		}()
	}
}

func serveUDP(address string) error {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	for {
		length, from, err := socket.ReadFrom(buffer)
		if err != nil {
			return err
		}
		_, _ = socket.WriteTo(buffer[:length], from)
	}
}

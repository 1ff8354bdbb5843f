package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// attempt is one thing to try. Size: bytes to send (tcp, udp, http), 0 for a few.
type attempt struct {
	Kind string `json:"kind"`
	Host string `json:"host"`
	Port int    `json:"port"`
	Size int    `json:"sizeBytes"`
}

// try reads attempts as a JSON list from its first argument, makes them all at once and prints a JSON list of outcomes: "ok", or
// what went wrong ("timeout", "refused", "no such name" ...). The second argument is the limit of each, default 3s.
func try(args []string) error {
	if len(args) == 0 || len(args) > 2 {
		return errors.New("usage: try ATTEMPTS [LIMIT]")
	}
	limit := 3 * time.Second
	if len(args) == 2 {
		parsed, err := time.ParseDuration(args[1])
		if err != nil {
			return err
		}
		limit = parsed
	}
	input := strings.NewReader(args[0])
	var attempts []attempt
	if err := json.NewDecoder(input).Decode(&attempts); err != nil {
		return err
	}
	outcomes := make([]string, len(attempts))
	var running sync.WaitGroup
	for index, one := range attempts {
		running.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			outcomes[index] = outcome(attemptOne(ctx, one))
		})
	}
	running.Wait()
	return json.NewEncoder(os.Stdout).Encode(outcomes)
}

func attemptOne(ctx context.Context, one attempt) error {
	address := net.JoinHostPort(one.Host, strconv.Itoa(one.Port))
	switch one.Kind {
	case "tcp", "udp":
		return echo(ctx, one.Kind, address, payload(one.Size))
	case "http":
		return post(ctx, address, payload(one.Size))
	case "name":
		_, err := net.DefaultResolver.LookupHost(ctx, one.Host)
		return err
	}
	return fmt.Errorf("kind %q is not known", one.Kind)
}

func payload(size int) []byte {
	if size <= 0 {
		return []byte("are you there?")
	}
	return bytes.Repeat([]byte{'x'}, size)
}

// echo sends the text and wants it back.
func echo(ctx context.Context, network, address string, text []byte) error {
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer connection.Close()
	deadline, _ := ctx.Deadline()
	if err := connection.SetDeadline(deadline); err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() {
		_, err := connection.Write(text)
		written <- err
	}()
	answer := make([]byte, len(text))
	if network == "udp" {
		length, err := connection.Read(answer)
		if err != nil {
			return err
		}
		answer = answer[:length]
	} else if _, err := io.ReadFull(connection, answer); err != nil {
		return err
	}
	if err := <-written; err != nil {
		return err
	}
	if !bytes.Equal(answer, text) {
		return errors.New("another answer than what was sent")
	}
	return nil
}

func post(ctx context.Context, address string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

func outcome(err error) string {
	var (
		timeout interface{ Timeout() bool }
		name    *net.DNSError
	)
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &name) && name.IsNotFound:
		return "no such name"
	case errors.As(err, &name):
		return "name: " + name.Err
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "unreachable"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return err.Error()
}

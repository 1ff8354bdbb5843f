// Package main is the small program of the test cluster's own images: servers that answer on TCP, UDP and HTTP, a client
// that tries flows, the pause container, and the maker of the cluster's certificates.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

var commands = map[string]func(args []string) error{
	"certificates": certificates,
	"pause":        pause,
	"serve":        serve,
	"try":          try,
}

func main() {
	name := "pause"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	command, ok := commands[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "tool: no command %q\n", name)
		os.Exit(2)
	}
	if err := command(os.Args[min(len(os.Args), 2):]); err != nil {
		fmt.Fprintf(os.Stderr, "tool %s: %v\n", name, err)
		os.Exit(1)
	}
}

// pause holds a pod's namespaces. As process 1 of a shared process namespace it also reaps what is orphaned.
func pause([]string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		select {
		case <-stop:
			return nil
		case <-children:
			for {
				if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
					break
				}
			}
		}
	}
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/flannel-io/flannel/pkg/lease"
	"github.com/flannel-io/flannel/pkg/subnet"
)

type object = map[string]any

// writeConflist writes what flannel's own CNI plugin hands on to the bridge plugin, for that plugin is a program of another
// module: a bridge cni0 that is the pods' gateway, addresses by host-local, a route to all pods, and host ports.
func writeConflist(file string, config *subnet.Config, node *lease.Lease, mtu int) error {
	conflist := object{
		"cniVersion": "0.3.1",
		"name":       "cbr0",
		"plugins": []object{
			{
				"type":             "bridge",
				"bridge":           "cni0",
				"isDefaultGateway": true,
				"hairpinMode":      true,
				"ipMasq":           false,
				"mtu":              mtu,
				"ipam": object{
					"type":   "host-local",
					"ranges": [][]object{{{"subnet": node.Subnet.String()}}},
					"routes": []object{{"dst": config.Network.String()}},
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}
	text, err := json.MarshalIndent(conflist, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	// The runtime watches the folder: it must never read half a file, and only names ending in .conflist count.
	draft := file + ".new"
	if err := os.WriteFile(draft, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(draft, file)
}

// Package main is flannel's agent for the test cluster, made of flannel's own packages: its program cannot be built as it
// is, because it takes in the SDKs of every cloud. What a pod network on VXLAN or host routes needs is all here.
package main

import (
	"context"
	"flag"
	"math/big"
	"os/signal"
	"sync"
	"syscall"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"
	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	"github.com/flannel-io/flannel/pkg/trafficmngr/iptables"
	"k8s.io/klog/v2"
)

const resyncSeconds = 5

func main() {
	kubeconfig := flag.String("kubeconfig-file", "", "how to reach the API server")
	netConf := flag.String("net-config-path", "/etc/kube-flannel/net-conf.json", "the network's configuration")
	iface := flag.String("iface", "eth0", "device that the other nodes are reached by")
	files := written{}
	flag.StringVar(&files.subnet, "subnet-file", "/run/flannel/subnet.env", "where the node's own network is written")
	flag.StringVar(&files.cni, "cni-config-file", "", "where the configuration of the CNI plugins is written; empty: nowhere")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *netConf, *iface, files); err != nil {
		klog.Exitf("flanneld: %v", err)
	}
}

// written are the files that tell others about the node's network.
type written struct{ subnet, cni string }

func run(ctx context.Context, kubeconfig, netConf, iface string, files written) error {
	subnets, err := kube.NewSubnetManager(ctx, "", kubeconfig, "flannel.alpha.coreos.com", netConf, true)
	if err != nil {
		return err
	}
	config, err := subnets.GetNetworkConfig(ctx)
	if err != nil {
		return err
	}
	stack, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return err
	}
	underlay, err := ipmatch.LookupExtIface(iface, "", "", stack, ipmatch.PublicIPOpts{})
	if err != nil {
		return err
	}
	chosen, err := backend.NewManager(ctx, subnets, underlay).GetBackend(config.BackendType)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	network, err := chosen.RegisterNetwork(ctx, &running, config)
	if err != nil {
		return err
	}
	rules := &iptables.IPTablesManager{}
	if err := rules.Init(ctx); err != nil {
		return err
	}
	none4, none6 := ip.IP4Net{}, ip.IP6Net{IP: (*ip.IP6)(big.NewInt(0))}
	if err := rules.SetupAndEnsureMasqRules(ctx, config.Network, none4, none4, config.IPv6Network, none6, none6,
		network.Lease(), resyncSeconds, false); err != nil {
		return err
	}
	rules.SetupAndEnsureForwardRules(ctx, config.Network, config.IPv6Network, resyncSeconds)
	lease := network.Lease()
	if err := subnets.HandleSubnetFile(files.subnet, config, true, lease.Subnet, lease.IPv6Subnet, network.MTU()); err != nil {
		return err
	}
	if files.cni != "" {
		if err := writeConflist(files.cni, config, lease, network.MTU()); err != nil {
			return err
		}
	}
	running.Go(func() { network.Run(ctx) })
	err = subnets.CompleteLease(ctx, lease, &running)
	running.Wait()
	return err
}

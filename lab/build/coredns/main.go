// CoreDNS with the plugins that the lab's Corefile names and no other: clients of cloud DNS would treble the build.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	// The order decides which plugin sees a query first. It is upstream's but for template, which here is the last
	// resort: it says at once that a name does not exist, where upstream would ask the internet.
	dnsserver.Directives = []string{"ready", "health", "errors", "log", "loadbalance", "hosts", "kubernetes", "template"}
	coremain.Run()
}

// The network policy controller of kube-router, and nothing else of it: no router, no service proxy, no metrics server.
// Upstream's main program would bring a BGP speaker and a docker client into the build and four more watches into memory.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

func main() {
	klog.InitFlags(nil)
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of this node's policy controller")
	node := flag.String("node", "", "name of this node")
	services := flag.String("services", "", "network of the cluster's services")
	ready := flag.String("ready", "", "file that is written once the rules of all policies are in the kernel")
	flag.Parse()

	config := options.NewKubeRouterConfig()
	config.RunFirewall = true
	config.EnableIPv4 = true
	config.ClusterIPCIDRs = []string{*services}
	config.HostnameOverride = *node
	// Upstream lets every pod reach these ports of the node itself, for its own service proxy. kube-proxy has translated
	// node ports before the filter is asked. An empty range is refused.
	config.NodePortRange = "0-1"

	rest, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	check(err, "reading the kubeconfig")
	rest.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(rest)
	check(err, "making the client")
	awaitNode(client, *node)

	stop := make(chan struct{})
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(slim))
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	factory.Start(stop)
	factory.WaitForCacheSync(stop)

	tables, sets, err := netpol.NewIPTablesHandlers(config)
	check(err, "finding iptables and ipset")
	var setLock sync.Mutex
	controller, err := netpol.NewNetworkPolicyController(
		client, config, pods, oneWay{policies}, namespaces, &setLock, tables, sets)
	check(err, "making the controller")
	_, err = pods.AddEventHandler(controller.PodEventHandler)
	check(err, "watching pods")
	_, err = namespaces.AddEventHandler(controller.NamespaceEventHandler)
	check(err, "watching namespaces")
	_, err = policies.AddEventHandler(controller.NetworkPolicyEventHandler)
	check(err, "watching network policies")

	beats := make(chan *healthcheck.ControllerHeartbeat)
	go announce(beats, controller.RequestFullSync, *ready)
	var running sync.WaitGroup
	running.Add(1)
	go controller.Run(beats, stop, &running)

	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGINT, syscall.SIGTERM)
	<-asked
	close(stop)
	running.Wait()
}

// The controller needs the node's address and gives up without; it is started beside the kubelet that registers it.
func awaitNode(client kubernetes.Interface, name string) {
	for {
		node, err := client.CoreV1().Nodes().Get(context.Background(), name, metav1.GetOptions{})
		if err == nil {
			for _, address := range node.Status.Addresses {
				if address.Type == corev1.NodeInternalIP {
					return
				}
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// A sync sends a beat when it begins and only one runs at a time: the second beat says that the first sync is complete.
func announce(beats <-chan *healthcheck.ControllerHeartbeat, again func(), file string) {
	<-beats
	again()
	<-beats
	check(os.WriteFile(file, []byte("ready\n"), 0o600), "writing "+file)
	for range beats {
	}
}

// Upstream keeps both directions of a policy in one chain, which it asks for packets to and from a pod alike: what pods of
// one policy may send to anybody, they could then also receive from each other. A policy for both directions means the
// same as two for one each, and those have chains of their own.
type oneWay struct{ cache.SharedIndexInformer }

func (all oneWay) GetIndexer() cache.Indexer { return split{all.SharedIndexInformer.GetIndexer()} }

type split struct{ cache.Indexer }

func (all split) List() []interface{} {
	var found []interface{}
	for _, object := range all.Indexer.List() {
		policy := object.(*networkingv1.NetworkPolicy)
		for _, direction := range policy.Spec.PolicyTypes {
			part := policy.DeepCopy()
			part.Spec.PolicyTypes = []networkingv1.PolicyType{direction}
			if direction == networkingv1.PolicyTypeIngress {
				part.Name, part.Spec.Egress = policy.Name+"/in", nil
			} else {
				part.Name, part.Spec.Ingress = policy.Name+"/out", nil
			}
			found = append(found, part)
		}
	}
	return found
}

// What the controller never reads is most of a pod.
func slim(object interface{}) (interface{}, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
		accessor.SetAnnotations(nil)
	}
	return object, nil
}

func check(err error, doing string) {
	if err != nil {
		klog.Fatalf("%s: %v", doing, err)
	}
}

// Makes a directory of the node for every claim, and removes it again: dynamic volumes for a cluster of one node.
//
// The controller is Kubernetes' own library. The directory is made right here instead of by a helper pod, which is what
// takes two to three seconds a volume elsewhere. A class with the parameter `sharing: many` takes ReadWriteMany and is a
// plain host path, as a network file system would be; the others are local volumes of this node, which fsGroup applies to.
// Volumes of a class that retains are named by claim, so that a claim made again finds its data.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

const hostname = "kubernetes.io/hostname"

type provisioner struct {
	root string // of all volumes, at the same path on the node and in this container
	node string
}

func (p provisioner) Provision(_ context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	many := o.StorageClass.Parameters["sharing"] == "many"
	for _, mode := range o.PVC.Spec.AccessModes {
		if !many && (mode == v1.ReadWriteMany || mode == v1.ReadOnlyMany) {
			return nil, controller.ProvisioningFinished, fmt.Errorf("class %s makes volumes for one node, not %s", o.StorageClass.Name, mode)
		}
	}
	name := o.PVName
	if *o.StorageClass.ReclaimPolicy == v1.PersistentVolumeReclaimRetain {
		name = o.PVC.Namespace + "_" + o.PVC.Name
	}
	path := filepath.Join(p.root, o.StorageClass.Name, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	if err := os.Chmod(path, 0o777); err != nil { // whoever the pod runs as may write, as on an export without squash
		return nil, controller.ProvisioningFinished, err
	}
	volume := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: o.PVC.Spec.Resources.Requests[v1.ResourceStorage]},
		},
	}
	if many {
		volume.Spec.HostPath = &v1.HostPathVolumeSource{Path: path}
	} else {
		volume.Spec.Local = &v1.LocalVolumeSource{Path: path}
		here := v1.NodeSelectorRequirement{Key: hostname, Operator: v1.NodeSelectorOpIn, Values: []string{p.node}}
		term := v1.NodeSelectorTerm{MatchExpressions: []v1.NodeSelectorRequirement{here}}
		volume.Spec.NodeAffinity = &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{term}}}
	}
	return volume, controller.ProvisioningFinished, nil
}

// Delete is only called for volumes whose policy is to delete.
func (p provisioner) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	var path string
	switch {
	case volume.Spec.Local != nil:
		path = volume.Spec.Local.Path
	case volume.Spec.HostPath != nil:
		path = volume.Spec.HostPath.Path
	}
	inside, err := filepath.Rel(p.root, path)
	if err != nil || !filepath.IsLocal(inside) || inside == "." {
		return fmt.Errorf("volume %s is at %q, which is not below %s", volume.Name, path, p.root)
	}
	return os.RemoveAll(path)
}

func main() {
	if len(os.Args) != 4 {
		klog.Exitln("usage: provisioner NAME ROOT NODE")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config, err := rest.InClusterConfig()
	if err != nil {
		klog.Exitln("not in a cluster:", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		klog.Exitln("no client for the API server:", err)
	}
	volumes := provisioner{root: os.Args[2], node: os.Args[3]}
	controller.NewProvisionController(klog.FromContext(ctx), client, os.Args[1], volumes, controller.LeaderElection(false)).Run(ctx)
}

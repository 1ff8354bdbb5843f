/** kube-router as the pod network (kube-bridge and BGP routes). Its policy controller alone is no pod network. */
import { defineCni } from './cni.ts';
import { findNodeDevice } from './look.ts';

export const kubeRouter = defineCni({
  name: 'kube-router',
  detect: (snapshot) => {
    const found = findNodeDevice(snapshot, (device) => device.name === 'kube-bridge');
    return found === undefined ? undefined : `${found.node} has the bridge kube-bridge`;
  },
  tunnel: () => undefined,
  isAgent: (pod) => pod.labels['k8s-app'] === 'kube-router',
  usesNodePodCidrs: true,
  bypassesKernelRoutes: false,
});
